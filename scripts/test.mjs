// The one gate: builds, checks and runs all tests; ends with `N passed, N failed`.
import { readdirSync } from "node:fs";
import { checks } from "./check.mjs";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";
import { runVitest } from "./vitest.mjs";

let passed = 0;
let failed = 0;
let tests = { passed: 0, failed: 1 };
for (const check of Object.values(checks)) {
  if (check()) passed++;
  else failed++;
}
try {
  const { stop } = await startServers(serversNeeded(readdirSync(`${root}packages`)));
  try {
    tests = runVitest("tests");
  } finally {
    await stop();
  }
} catch (error) {
  console.error(error.message);
}
passed += tests.passed;
failed += tests.failed;
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && tests.passed > 0 ? 0 : 1;
