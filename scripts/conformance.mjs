// `pnpm conformance <adapter>`: the conformance kit on one of our adapters; ends with `N passed, N failed`.
import { existsSync, readdirSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";
import { readArguments, refuse } from "./usage.mjs";
import { runVitest } from "./vitest.mjs";

const adapters = readdirSync(`${root}packages`).filter((name) =>
  existsSync(`${root}packages/${name}/test/conformance.test.ts`),
);
const usage = `pnpm conformance ADAPTER\n  adapters: ${adapters.join(", ")}`;
const { positionals } = readArguments(usage, { allowPositionals: true });
const [adapter] = positionals;
if (positionals.length !== 1 || !adapters.includes(adapter))
  refuse(usage, adapter === undefined ? "Which adapter?" : `There is no conformance test of ${positionals.join(" ")}`);
if (spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: root, stdio: "inherit" }).status !== 0) process.exit(1);
// Cloud stores run a part of the kit in the test command, and the whole of it here.
process.env.OMNIQ_TEST_KIT = "whole";
const { stop } = await startServers(serversNeeded([adapter]));
// A kit may be in several files, which run side by side.
const { passed, failed } = runVitest(`conformance of ${adapter}`, [`packages/${adapter}/test/conformance`]);
await stop();
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
