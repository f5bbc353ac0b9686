// docs/conformance.md gives the counts as they are, and its tables leave no rule out. `node scripts/conformance-tables.mjs --write` makes it anew.
import { readFileSync } from "node:fs";
import {
  brokenBackends,
  componentNames,
  objectStoreCases,
  orderedLogCases,
  suiteNames,
  suites,
} from "@omniq/conformance";
import { expect, test } from "vitest";
import { mutations } from "../../../scripts/mutations.mjs";

const text = readFileSync(new URL("../../../docs/conformance.md", import.meta.url), "utf8");

test("the number of cases of each suite", () => {
  for (const name of componentNames) expect(text).toContain(`| ${suiteNames[name]} | ${suites[name].length} |`);
  expect(text).toContain(`| ordered-log | ${orderedLogCases.length} |`);
  expect(text).toContain(`| object-store | ${objectStoreCases.length} |`);
});

test("every broken backend", () => {
  for (const { rule, component, does } of brokenBackends)
    expect(text).toContain(`| \`${rule}\` | ${component} | ${does} |`);
});

test("every changed line, of ten rules and more, each caught under its own key", () => {
  expect(new Set(mutations.map(({ rule }) => rule)).size).toBeGreaterThanOrEqual(10);
  for (const { rule, file } of mutations) {
    const row = text.split("\n").find((line) => line.startsWith(`| \`${rule}\` | \`${file}\` |`)) ?? "";
    const caught = Number(row.split(/(?<!\\)\|/)[5]);
    expect(caught, rule).toBeGreaterThan(0);
  }
});

test("every change still fits the adapter's source", () => {
  for (const { rule, file, from } of mutations) {
    const source = readFileSync(new URL(`../../sqlite/src/${file}`, import.meta.url), "utf8");
    expect(source.split(from), rule).toHaveLength(2);
  }
});
