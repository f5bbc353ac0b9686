// Short torture runs: on SQLite, on a Redis of its own, and on memory. `pnpm torture --backend X --minutes M --seed S` runs longer ones on every backend and on mixes.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

async function torture(...options: readonly string[]): Promise<string> {
  const script = fileURLToPath(new URL("../../../scripts/torture.mjs", import.meta.url));
  // A run with violations ends with 1; what it said tells which.
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...options], { timeout: 290_000 }).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? String(error) }),
  );
  return stdout;
}
const timeout = 300_000;

test("twelve seconds of faults on SQLite break no rule", { timeout }, async () => {
  const said = await torture("--backend", "sqlite", "--minutes", "0.2", "--seed", "7", "--workers", "3");
  expect(said).toMatch(/ 0 violations/);
  expect(said).toMatch(/[1-9]\d* kills/);
});

test("twelve seconds on Redis, its server restarted and cut off too, break no rule", { timeout }, async () => {
  const said = await torture("--backend", "redis", "--minutes", "0.2", "--seed", "7", "--workers", "3");
  expect(said).toMatch(/ 0 violations/);
  expect(said).toMatch(/[1-9]\d* cuts/);
});

test("twelve seconds on memory, all in one process, break no rule", { timeout }, async () => {
  const said = await torture("--backend", "memory", "--minutes", "0.2", "--seed", "9", "--workers", "2");
  expect(said).toMatch(/ 0 violations/);
  expect(said).toMatch(/[1-9]\d* cancelled/);
  expect(said).toMatch(/[1-9]\d* accepted/);
});
