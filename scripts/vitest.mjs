// Runs vitest and counts its tests.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bin, step } from "./steps.mjs";

/** Runs the tests that the filters name, all by default. Tests that were skipped or not run count as failed. */
export function runVitest(name, filters = []) {
  const folder = mkdtempSync(join(tmpdir(), "omniq-vitest-"));
  const file = join(folder, "report.json");
  try {
    const passed = step(name, bin("vitest"), [
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${file}`,
      ...filters,
    ]);
    const report = JSON.parse(readFileSync(file, "utf8"));
    const failedFiles = report.testResults.filter(
      (one) => one.status === "failed" && one.assertionResults.length === 0,
    ).length;
    const failed = report.numTotalTests - report.numPassedTests + failedFiles;
    return { passed: report.numPassedTests, failed: passed ? failed : Math.max(1, failed) };
  } catch (error) {
    console.error(`no report of the tests: ${error.message}`);
    return { passed: 0, failed: 1 };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
