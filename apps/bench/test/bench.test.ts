// The bench with tiny counts: all scenarios on memory and SQLite end with every task done exactly once, and a queue that breaks that fails.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { BackendResults } from "../src/report/results.ts";

const program = fileURLToPath(new URL("../dist/bench.js", import.meta.url));
const broken = fileURLToPath(new URL("contestants/broken.mjs", import.meta.url));

interface Ended {
  readonly code: number;
  readonly text: string;
  readonly json: Readonly<Record<string, BackendResults>>;
}

async function bench(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const folder = mkdtempSync(join(tmpdir(), "omniq-bench-test-"));
  const file = join(folder, "rounds.json");
  try {
    const given = [program, ...args, "--quick", "--rounds", "1", "--json", file];
    return await new Promise((resolve, reject) => {
      execFile(process.execPath, given, { env: { ...process.env, ...environment } }, (error, stdout, stderr) => {
        const code = error === null ? 0 : Number(error.code);
        try {
          resolve({ code, text: stdout + stderr, json: JSON.parse(readFileSync(file, "utf8")) as Ended["json"] });
        } catch (cause) {
          reject(new Error(`no rounds were written:\n${stdout}${stderr}`, { cause }));
        }
      });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("memory: every scenario, every contestant", { timeout: 240_000 }, async () => {
  const { code, text, json } = await bench(["memory"]);
  expect(code, text).toBe(0);
  const { scenarios, contestants } = json["memory"] as BackendResults;
  expect(Object.keys(scenarios)).toEqual(["enqueue", "drain", "round-trip", "pick-up", "backlog", "memory"]);
  expect(contestants.map(({ name }) => name)).toEqual(["OmniQ", "fastq"]);
  for (const { rows, tasks } of Object.values(scenarios)) {
    expect(tasks).toBeGreaterThan(0);
    for (const { name, values } of rows)
      for (const contestant of ["OmniQ", "fastq"]) expect(values[contestant], `${name}, ${contestant}`).toHaveLength(1);
  }
  expect(contestants[1]?.versions).toMatch(/^fastq \d+\.\d+\.\d+$/);
});

test("SQLite: worker processes and stored results are counted, too", { timeout: 240_000 }, async () => {
  const { code, text, json } = await bench(["sqlite", "--scenario", "drain,pick-up"]);
  expect(code, text).toBe(0);
  const rows = json["sqlite"]?.scenarios["drain"]?.rows ?? [];
  const together = rows.find(({ name }) => name === "drain at 100 by 2 processes");
  expect(Object.keys(together?.values ?? {})).toHaveLength(4);
});

test.each([
  ["forgets", /of \d+ tasks \d+ never done, though \d+ wait/],
  ["repeats", /of \d+ tasks.* 1 done more than once/],
  ["invents", /1 done that were never added/],
])("a queue that %s a task fails the run", { timeout: 240_000 }, async (fault, message) => {
  const args = ["memory", "--add", broken, "--contestant", "broken", "--scenario", "backlog"];
  const { code, text, json } = await bench(args, { OMNIQ_BROKEN: fault });
  expect(code, text).toBe(1);
  expect(json["memory"]?.scenarios["backlog"]?.failures.map(({ error }) => error).join()).toMatch(message);
});

test("the same queue without a fault passes", { timeout: 240_000 }, async () => {
  const { code, text } = await bench(["memory", "--add", broken, "--contestant", "broken", "--scenario", "backlog"]);
  expect(code, text).toBe(0);
});

test("profiles are drawn as flame graphs, one for each kind of work", { timeout: 240_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "omniq-bench-test-"));
  try {
    const args = [program, "memory", "--flame", folder, "--scenario", "drain,enqueue", "--quick"];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    expect(stdout.match(/^ +\d+\.\d %/gm)?.length).toBeGreaterThan(20);
    const files = readdirSync(folder).toSorted();
    expect(files).toEqual(
      ["flame-memory-enqueue-by-100-callers", "flame-memory-enqueue-one-by-one", "flame-memory"].map(
        (name) => `${name}.svg`,
      ),
    );
    for (const file of files) expect(readFileSync(join(folder, file), "utf8")).toMatch(/^<svg .*<\/svg>\n$/s);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
