// Puts measured lines into docs/scale.md, between its marks; lines that were not measured this time stay.
import { readFileSync, writeFileSync } from "node:fs";
import { growth, stepLimitMs, within, type Line } from "./measure-growth.ts";

const path = new URL("../../../../docs/scale.md", import.meta.url);
const begin = "<!-- scale: begin -->";
const end = "<!-- scale: end -->";

export function row(line: Line): readonly string[] {
  const { backend, dimension, operation, costs, bound, longestStepMs, error } = line;
  const [first, last] = [costs[0], costs.at(-1)];
  const range = first && last ? `${first.size.toLocaleString("en")} → ${last.size.toLocaleString("en")}` : "";
  const cost = first && last ? `${Math.round(first.microseconds)} → ${Math.round(last.microseconds)}` : "";
  const ratio = Number.isFinite(growth(line)) ? growth(line).toFixed(2) : "";
  return [
    backend,
    dimension,
    operation,
    range,
    cost,
    `${ratio} (${bound})`,
    longestStepMs.toFixed(0),
    error ?? (within(line) ? "yes" : "no"),
  ];
}
export const head: readonly string[] = [
  "backend",
  "dimension",
  "operation",
  "from → to",
  "µs",
  "growth (bound)",
  `longest step, ms (${stepLimitMs})`,
  "holds",
];

export function writeDocument(lines: readonly Line[]): void {
  const text = readFileSync(path, "utf8");
  const [before, rest] = text.split(begin) as [string, string];
  const [table, after] = rest.split(end) as [string, string];
  const keyOf = (cells: readonly string[]): string => cells.slice(0, 3).join("|");
  const rows = new Map<string, readonly string[]>();
  for (const line of table.split("\n").slice(3)) {
    const cells = line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    if (cells.length === head.length) rows.set(keyOf(cells), cells);
  }
  for (const line of lines) rows.set(keyOf(row(line)), row(line));
  const all = [head, head.map(() => "---"), ...rows.values()].map((cells) => `| ${cells.join(" | ")} |`);
  writeFileSync(path, `${before}${begin}\n\n${all.join("\n")}\n\n${end}${after}`);
}
