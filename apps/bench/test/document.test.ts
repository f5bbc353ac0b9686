// What the bench writes into the repository stands as the repository's own checks want it.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { numbersText } from "../src/report/document.ts";

test("the kept numbers are written as the formatter has them", async () => {
  const kept = readFileSync(new URL("../measured.json", import.meta.url), "utf8");
  expect(await numbersText(JSON.parse(kept) as Parameters<typeof numbersText>[0])).toBe(kept);
});
