// The example on combinations of backends in which every pair meets in every pair of components: the same results by configuration alone.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { backends, combinations, makeDocuments, runCombination } from "../../../scripts/interchange.mjs";

const base = mkdtempSync(join(tmpdir(), "omniq-documents-"));
let documents: string;
let expected: string;
beforeAll(async () => {
  documents = makeDocuments(join(base, "documents"));
  expected = await runCombination(["memory", "memory", "memory"], documents);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

describe("interchange", () => {
  test("the reference run has results to compare with", () => {
    expect(expected).toMatch(/24 files/);
    expect(expected).toMatch(/lost +│ +0 │/);
  });
  for (const combination of combinations(backends, false)) {
    test(
      `tasks ${combination[0]}, results ${combination[1]}, events ${combination[2]}`,
      { timeout: 120_000 },
      async () => {
        expect(await runCombination(combination, documents)).toBe(expected);
      },
    );
  }
});
