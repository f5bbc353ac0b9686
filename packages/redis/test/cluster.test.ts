// What of the conformance kit a cluster could break, on three nodes: each namespace is in one slot, on one of them.
import { testBackend } from "@omniq/conformance";
import { redis } from "@omniq/redis";
import { afterAll, describe, test } from "vitest";
import { startCluster } from "./nodes.ts";

const nodes = await startCluster();
afterAll(() => Promise.all(nodes.map((node) => node.remove())));
const cluster = nodes.map((node) => `127.0.0.1:${node.port}`);
// These rules use several keys, several connections or word from others; what is left out is Lua alone, and passes on one server.
const rules =
  /^(capabilities|enqueue-|calls-isolated|lease-|settle-fenced|wake-up|group-limit|dependencies|deduplicate|self-upkeep|result-|event-|schedule-|isolation|close|pause)/;
const some = (name: string, body: () => Promise<void>, timeoutMs?: number): void =>
  rules.test(name) ? test(name, body, timeoutMs) : undefined;

testBackend({ describe, test: some, adapter: redis, options: (namespace) => ({ cluster, prefix: namespace }) });
