// The one gate: builds, checks and runs all tests; ends with `N passed, N failed`.
import { checks } from "./check.mjs";
import { runVitest } from "./vitest.mjs";

let passed = 0;
let failed = 0;
for (const check of Object.values(checks)) check() ? passed++ : failed++;
const tests = runVitest("tests");
passed += tests.passed;
failed += tests.failed;
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && tests.passed > 0 ? 0 : 1;
