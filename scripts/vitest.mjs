// Runs vitest and counts its tests. Tests that fail beside others run once more on their own.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { bin, root, step } from "./steps.mjs";

/**
 * Runs the tests that the filters name, all by default. Tests that were skipped or not run count as failed. Many cases use real time and real
 * processes, and two files share the machine; so the files with failures run again, one at a time, and what fails again counts. What passed
 * only then is named, so that nobody overlooks it.
 */
export function runVitest(name, filters = []) {
  const first = run(name, filters);
  const files = Object.keys(first.failures);
  if (first.failed === 0 || files.length === 0) return { passed: first.passed, failed: first.failed };
  const second = run(`${name}: files with failures, one at a time`, ["--no-file-parallelism", ...files]);
  let failed = 0;
  let mended = 0;
  for (const [file, titles] of Object.entries(first.failures)) {
    const again = new Set(second.failures[file] ?? []);
    for (const title of titles) {
      if (again.has(title)) continue;
      mended++;
      console.log(`! passed only on its own: ${file}: ${title}`);
    }
    failed += again.size;
  }
  if (!second.complete) failed = Math.max(1, failed);
  return { passed: first.passed + mended, failed };
}

function run(name, words) {
  const folder = mkdtempSync(join(tmpdir(), "omniq-vitest-"));
  const report = join(folder, "report.json");
  try {
    const clean = step(name, bin("vitest"), [
      "run",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      ...words,
    ]);
    const { testResults, numPassedTests, numTotalTests } = JSON.parse(readFileSync(report, "utf8"));
    const failures = {};
    let failed = 0;
    for (const { name: path, status, assertionResults } of testResults) {
      const titles = assertionResults.filter((one) => one.status !== "passed").map((one) => one.fullName);
      // A file that could not be loaded or whose hooks failed has no failed test to show for it.
      if (titles.length === 0 && status === "failed") titles.push("the file itself");
      if (titles.length > 0) failures[relative(root, path)] = titles;
      failed += titles.length;
    }
    // An error outside every test fails the run too.
    const complete = clean || failed > 0;
    return { passed: numPassedTests, failed: complete ? failed : 1, failures, complete, total: numTotalTests };
  } catch (error) {
    console.error(`no report of the tests: ${error.message}`);
    return { passed: 0, failed: 1, failures: {}, complete: false };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
