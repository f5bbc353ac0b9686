// Short torture runs on SQLite and on a Redis of its own. `pnpm torture --backend X --minutes M --seed S` runs longer ones on every backend and on mixes.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

async function torture(...options: readonly string[]): Promise<string> {
  const script = fileURLToPath(new URL("../../../scripts/torture.mjs", import.meta.url));
  // A run with violations ends with 1; what it said tells which.
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...options], { timeout: 230_000 }).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? String(error) }),
  );
  return stdout;
}

test("twelve seconds of kills and suspensions on SQLite break no rule", { timeout: 240_000 }, async () => {
  const said = await torture("--backend", "sqlite", "--minutes", "0.2", "--seed", "11", "--workers", "3");
  expect(said).toMatch(/ 0 violations/);
  expect(said).toMatch(/[1-9]\d* accepted/);
});

test("twelve seconds on Redis, its server restarted and cut off too, break no rule", { timeout: 240_000 }, async () => {
  const said = await torture("--backend", "redis", "--minutes", "0.2", "--seed", "3", "--workers", "3");
  expect(said).toMatch(/ 0 violations/);
  expect(said).toMatch(/[1-9]\d* server restarts/);
});
