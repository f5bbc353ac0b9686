// The command that measures growth, with small sizes: it measures every operation of a dimension, and refuses what it does not know.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("../dist/scale.js", import.meta.url));
const scale = (...args: readonly string[]): { readonly status: number | null; readonly text: string } => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8" });
  return { status, text: stdout + stderr };
};

test("a dimension is measured at each size, and the answer ends with how many lines hold", () => {
  const { text } = scale("sqlite", "keys", "--sizes", "10,40");
  for (const words of ["a claim that finds nothing", "an enqueue whose key is held", "10 → 40"])
    expect(text).toContain(words);
  expect(text).toMatch(/\n\d passed, \d failed\n/);
}, 60_000);

test.each([
  ["a backend that there is none of", ["mysql"], "known are redis, postgres"],
  ["a dimension that there is none of", ["sqlite", "depth"], "known are waiting, delayed"],
  ["sizes that shrink", ["sqlite", "keys", "--sizes", "100,50"], "whole numbers from 10 that grow"],
])("%s is refused with what there is", (_what, args, words) => {
  const { status, text } = scale(...args);
  expect(status).toBe(1);
  expect(text).toContain(words);
});
