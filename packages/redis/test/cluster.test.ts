// What of the conformance kit a cluster could break, on three nodes: each namespace is in one slot, on one of them. OMNIQ_TEST_KIT=whole runs all of it.
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
const whole = process.env["OMNIQ_TEST_KIT"] === "whole";
const some = (name: string, body: () => Promise<void>, timeoutMs?: number): void =>
  whole || rules.test(name) ? test(name, body, timeoutMs) : undefined;

testBackend({
  describe,
  test: some,
  adapter: redis,
  // Races between real processes.
  ...(whole ? { module: new URL("../dist/index.js", import.meta.url) } : {}),
  options: (namespace) => ({ cluster, prefix: namespace }),
});
