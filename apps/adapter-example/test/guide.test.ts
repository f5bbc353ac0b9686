// The guide's code is this app's, whole and as it stands. `node scripts/guide.mjs --write` puts it there.
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { guideFiles } from "../../../scripts/guide.mjs";

const here = new URL("../", import.meta.url);
const files: Readonly<Record<string, string>> = guideFiles();
const sources = [...readdirSync(new URL("src", here)).map((name) => `src/${name}`), "test/conformance.test.ts"];

test("the guide has every file of the example and no other code", () => {
  const code = Object.keys(files).filter((path) => path.endsWith(".ts"));
  expect(code.toSorted()).toEqual(sources.toSorted());
});

test.each(sources)("%s stands in the guide as it is", (path) => {
  expect(files[path]).toBe(readFileSync(new URL(path, here), "utf8"));
});
