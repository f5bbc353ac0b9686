// The tables of docs/conformance.md: cases by suite and rule, and what the kit catches. `--write` counts and runs anew (some minutes).
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import * as kit from "../packages/conformance/dist/index.js";
import { mutationRow, mutations, runMutation } from "./mutations.mjs";
import { root } from "./steps.mjs";

const path = `${root}docs/conformance.md`;
/** Their cases fail by waiting in real time, so one is enough. */
const slow = ["wake-up", "event-tail", "outage", "cancel-push"];

/** Replaces the table behind a mark. */
export function withTable(text, mark, lines) {
  return text.replace(
    new RegExp(`<!-- ${mark} -->\\n(\\|[^\\n]*\\n)*`),
    () => `<!-- ${mark} -->\n${lines.join("\n")}\n`,
  );
}

/** How many cases each suite has, and each rule in it. */
export function casesTable() {
  const suites = [
    ...kit.componentNames.map((name) => [kit.suiteNames[name], kit.suites[name]]),
    ["ordered-log", kit.orderedLogCases],
    ["object-store", kit.objectStoreCases],
  ];
  const rows = suites.map(([name, cases]) => {
    const byRule = Map.groupBy?.(cases, ({ rule }) => rule) ?? group(cases);
    const rules = [...byRule].map(([rule, of]) => `\`${rule}\` ${of.length}`).join(", ");
    return `| ${name} | ${cases.length} | ${rules} |`;
  });
  const total = suites.reduce((sum, [, cases]) => sum + cases.length, 0);
  return ["| suite | cases | by rule |", "| --- | --- | --- |", ...rows, `| all | ${total} | |`];
}

/** `Map.groupBy`, which Node 20 lacks. */
function group(cases) {
  const byRule = new Map();
  for (const one of cases) byRule.set(one.rule, [...(byRule.get(one.rule) ?? []), one]);
  return byRule;
}

async function brokenTable() {
  const rows = [];
  for (const broken of kit.brokenBackends) {
    const first = slow.includes(broken.rule);
    const report = await kit.runBroken(broken, first ? { stopAtFailure: true, timeoutMs: 20_000 } : {});
    const caught = report.failed.filter(({ rule }) => rule === broken.rule).length;
    if (caught === 0) throw new Error(`${broken.rule}: a ${broken.component} that ${broken.does} is not caught`);
    const failed = first ? "the first that fails ends the run" : `${caught} of ${caught + report.passed}`;
    rows.push(`| \`${broken.rule}\` | ${broken.component} | ${broken.does} | ${failed} |`);
  }
  return ["| rule | component | a backend that | cases that fail |", "| --- | --- | --- | --- |", ...rows.toSorted()];
}

async function mutationTable() {
  const rows = [];
  for (const mutation of mutations) {
    const result = await runMutation(mutation);
    if (result.caught[mutation.rule] === undefined) throw new Error(`${mutation.rule}: the change is not caught`);
    rows.push(mutationRow(mutation, result));
  }
  return [
    "| rule | file | the line's | became | its cases that fail | of other rules |",
    "| --- | --- | --- | --- | --- | --- |",
    ...rows,
  ];
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const tables = { cases: casesTable, broken: brokenTable, mutations: mutationTable };
  const asked = process.argv.slice(2).filter((word) => Object.hasOwn(tables, word));
  for (const mark of asked.length > 0 ? asked : Object.keys(tables)) {
    const lines = await tables[mark]();
    if (process.argv.includes("--write")) writeFileSync(path, withTable(readFileSync(path, "utf8"), mark, lines));
    else console.log(`${lines.join("\n")}\n`);
  }
}
