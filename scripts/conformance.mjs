// `pnpm conformance <adapter>`: the conformance kit on one of our adapters; ends with `N passed, N failed`.
import { existsSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";
import { runVitest } from "./vitest.mjs";

const [adapter] = process.argv.slice(2);
const file = `packages/${adapter}/test/conformance.test.ts`;
if (adapter === undefined || !existsSync(root + file))
  throw new Error("usage: pnpm conformance ADAPTER, such as memory or sqlite");
if (spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: "inherit" }).status !== 0) process.exit(1);
// Cloud stores run a part of the kit in the test command, and the whole of it here.
process.env.OMNIQ_TEST_KIT = "whole";
const { stop } = await startServers(serversNeeded([adapter]));
// A kit may be in several files, which run side by side.
const { passed, failed } = runVitest(`conformance of ${adapter}`, [`packages/${adapter}/test/conformance`]);
await stop();
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
