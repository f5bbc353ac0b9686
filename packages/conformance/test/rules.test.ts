// Every rule stands in a contract's doc comment and has cases; every case names a known rule.
import { readdirSync, readFileSync } from "node:fs";
import {
  componentNames,
  objectStoreCases,
  objectStoreRules,
  orderedLogCases,
  orderedLogRules,
  rules,
  suiteNames,
  suites,
} from "@omniq/conformance";
import { describe, expect, test } from "vitest";

const folder = new URL("../../core/src/contracts/", import.meta.url);
const comments = readdirSync(folder)
  .flatMap((file) => readFileSync(new URL(file, folder), "utf8").match(/\/\*\*[\s\S]*?\*\//g) ?? [])
  .join("\n");

describe("rules", () => {
  for (const rule of Object.values(rules).flat()) {
    test(`${rule} stands in a contract's doc comment`, () => expect(comments).toContain(`\`${rule}\``));
  }
  for (const name of componentNames) {
    const cases: readonly { readonly rule: string; readonly title: string }[] = suites[name];
    const known: readonly string[] = [...rules[suiteNames[name]], ...rules.conduct];
    for (const rule of known) {
      test(`${suiteNames[name]} has cases of ${rule}`, () =>
        expect(cases.filter((one) => one.rule === rule).length).toBeGreaterThan(0));
    }
    test(`each case of ${suiteNames[name]} names a known rule`, () => {
      // Of any suite: what a queue does in a crash can break a promise of the results.
      const all: readonly string[] = Object.values(rules).flat();
      expect(cases.filter((one) => !all.includes(one.rule))).toEqual([]);
    });
    test(`each case of ${suiteNames[name]} has a title of its own`, () => {
      const titles = cases.map((one) => `${one.rule}: ${one.title}`);
      expect(titles.filter((title, index) => titles.indexOf(title) !== index)).toEqual([]);
    });
  }
});

const lower = [
  ["ordered log", "../../replica/src/ordered-log.ts", orderedLogRules, orderedLogCases],
  ["object store", "../src/object-store/contract.ts", objectStoreRules, objectStoreCases],
] as const;
describe.each(lower)("rules of the %s", (_name, file, known, cases) => {
  const contract = readFileSync(new URL(file, import.meta.url), "utf8");
  for (const rule of known) {
    test(`${rule} stands in the contract's doc comment`, () => expect(contract).toContain(`- \`${rule}\``));
    test(`${rule} has cases`, () => expect(cases.some((one) => one.rule === rule)).toBe(true));
  }
  test("each case names a known rule and has a title of its own", () => {
    const all: readonly string[] = known;
    expect(cases.filter((one) => !all.includes(one.rule))).toEqual([]);
    expect(new Set(cases.map((one) => one.title)).size).toBe(cases.length);
  });
});
