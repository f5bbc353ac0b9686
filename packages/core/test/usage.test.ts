// The usage programs of type-tests/ that need no server run to their end. Loads `dist`, so build first.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const sources = fileURLToPath(new URL("../type-tests/", import.meta.url));
const cache = fileURLToPath(new URL("../.omniq/", import.meta.url));
let folder = "";

/** Why a program of type-tests/ does not run by itself. All others do. */
const notRun: Readonly<Record<string, string>> = {
  "adapter.ts": "its server does not exist",
  "dependency-injection.ts": "classes for a framework, without a start",
  "negative.ts": "programs that must not compile",
  "tasks.ts": "definitions that the others import",
  "thread-tasks.ts": "a module of tasks that threads.ts starts",
  "wrapper.ts": "types of a function only",
};
const programs = readdirSync(sources).filter((name) => name.endsWith(".ts"));

beforeAll(async () => {
  // Inside the package, so that its dependencies are found.
  mkdirSync(cache, { recursive: true });
  folder = mkdtempSync(join(cache, "usage-"));
  for (const name of programs) {
    const source = readFileSync(sources + name, "utf8");
    const { code } = await transform(source, { loader: "ts", format: "esm", target: "node20" });
    writeFileSync(join(folder, name.replace(/ts$/, "mjs")), code.replaceAll(/(["'])(\.\/[\w-]+)\.ts\1/g, '"$2.mjs"'));
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("usage programs", () => {
  test("what does not run is there", () => expect(programs).toEqual(expect.arrayContaining(Object.keys(notRun))));

  test.each(programs.filter((name) => notRun[name] === undefined))("%s", async (name) => {
    const place = mkdtempSync(join(folder, "run-"));
    const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
    const program = join(folder, name.replace(/ts$/, "mjs"));
    await run(process.execPath, [program], { cwd: place, env, timeout: 60_000 });
  });
});
