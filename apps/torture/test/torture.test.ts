// A short torture run on SQLite. `pnpm torture --backend X --minutes M --seed S` runs longer ones on every backend and on mixes.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("twelve seconds of kills and suspensions on SQLite break no rule", { timeout: 240_000 }, async () => {
  const script = fileURLToPath(new URL("../../../scripts/torture.mjs", import.meta.url));
  const options = ["--backend", "sqlite", "--minutes", "0.2", "--seed", "11", "--workers", "3"];
  // A run with violations ends with 1; what it said tells which.
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...options], { timeout: 230_000 }).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? String(error) }),
  );
  expect(stdout).toMatch(/ 0 violations/);
  expect(stdout).toMatch(/[1-9]\d* accepted/);
});
