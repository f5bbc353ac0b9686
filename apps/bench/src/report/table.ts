// The tables of a scenario: for the terminal, and for docs/performance.md. A ratio says how many times as good OmniQ is.
import Table from "cli-table3";
import { median } from "../measure.ts";
import { showRatio, showValue } from "./numbers.ts";
import { ratio, type BackendResults, type ContestantFacts, type MeasureRow, type ScenarioResults } from "./results.ts";

/** A row's cells: value, and beside a peer's the ratio to ours. Details have no ratio of their own. */
function cells(row: MeasureRow, contestants: readonly ContestantFacts[], failed: ReadonlySet<string>): string[] {
  return contestants.map(({ name, ours, rival }) => {
    const values = row.values[name];
    if (values === undefined) return failed.has(name) ? "failed" : "–";
    const value = median(values);
    if (ours || row.detail === true || !Number.isFinite(value)) return showValue(value, row);
    const rivals = row.values[rival];
    return rivals === undefined
      ? showValue(value, row)
      : `${showValue(value, row)} (${showRatio(ratio(row, median(rivals), value))})`;
  });
}

const label = (row: MeasureRow): string => (row.detail === true ? `  ${row.name.replace(/^.*: /, "")}` : row.name);

/** For the terminal; colours where it has them. */
export function terminalTable(backend: string, of: BackendResults, results: ScenarioResults): string {
  const failed = new Set(results.failures.map(({ contestant }) => contestant));
  const table = new Table({
    head: [backend, ...of.contestants.map(({ name }) => name)],
    colAligns: ["left", ...of.contestants.map(() => "right" as const)],
    style: { head: process.stdout.isTTY ? ["cyan"] : [], border: process.stdout.isTTY ? ["grey"] : [], compact: true },
  });
  for (const row of results.rows) table.push([label(row), ...cells(row, of.contestants, failed)]);
  return table.toString();
}

/** For Markdown: rates and latencies, then processor time and other details in a table of their own. */
export function markdownTables(of: BackendResults, all: readonly ScenarioResults[]): string[] {
  const head = ["", ...of.contestants.map(({ name }) => name)];
  const lines = (rows: readonly (readonly string[])[]): string[] => [
    `| ${head.join(" | ")} |`,
    `| --- |${" ---: |".repeat(of.contestants.length)}`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
  ];
  const rowsOf = (detail: boolean): string[][] =>
    all.flatMap(({ rows, failures }) => {
      const failed = new Set(failures.map(({ contestant }) => contestant));
      return rows
        .filter((row) => (row.detail ?? false) === detail)
        .map((row) => [row.name, ...cells(row, of.contestants, failed)]);
    });
  const details = rowsOf(true);
  return [
    ...lines(rowsOf(false)),
    ...(details.length === 0
      ? []
      : [
          "",
          "<details><summary>Processor time a task, and other details</summary>",
          "",
          ...lines(details),
          "",
          "</details>",
        ]),
  ];
}
