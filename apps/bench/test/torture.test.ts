// Worker processes on one SQLite file, killed at random: each task has exactly one result. `pnpm torture` runs it with larger numbers.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test(
  "four processes, 2,000 tasks, one killed every half second: nothing lost, nothing recorded twice",
  { timeout: 240_000 },
  async () => {
    const program = fileURLToPath(new URL("../dist/torture.js", import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, [program, "2000", "4"], { timeout: 230_000 });
    expect(stdout).toMatch(/2000 results of 2000 runs, 0 lost, 0 wrong, .*still in the queue 0,/);
  },
);
