// The same suite under node:test and under vitest gives the same counts. Loads `dist`, so build first.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { fileURLToPath } from "node:url";
import { testBackend } from "@omniq/conformance";
import { memory } from "@omniq/memory";
import { expect, test } from "vitest";

const run = promisify(execFile);

/** How many tests the kit registers with a runner, by what it calls. */
function registered(): number {
  let tests = 0;
  testBackend({
    describe: (_name, body) => body(),
    test: () => (tests += 1),
    adapter: memory,
    options: (name) => ({ name }),
    clock: { now: () => Date.now(), advance: () => undefined },
  });
  return tests;
}

test("node:test runs as many cases as vitest is given, and all pass", async () => {
  const script = fileURLToPath(new URL("./node-test.mjs", import.meta.url));
  // Vitest's own variables would make the child report to it.
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  const { stdout } = await run(process.execPath, ["--test-reporter=tap", script], { env, maxBuffer: 64 * 1024 * 1024 });
  const count = (name: string): number => Number(new RegExp(`^# ${name} (\\d+)$`, "m").exec(stdout)?.[1] ?? Number.NaN);
  expect(count("fail") + count("cancelled") + count("skipped") + count("todo")).toBe(0);
  expect(count("pass")).toBe(registered());
}, 180_000);
