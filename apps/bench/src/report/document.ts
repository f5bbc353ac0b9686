// Writes the measured parts of docs/performance.md, its chart, and the numbers behind both, from which the next run goes on.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { format, type FormatConfig } from "oxfmt";
import { backendNames, type BackendName } from "../frame/contestant.ts";
import { scenarios } from "../scenarios/index.ts";
import { chartSvg } from "./chart.ts";
import type { BackendResults } from "./results.ts";
import { markdownTables } from "./table.ts";

const document = new URL("../../../../docs/performance.md", import.meta.url);
const chart = new URL("../../../../docs/performance.svg", import.meta.url);
const numbers = new URL("../../measured.json", import.meta.url);
const formatting = new URL("../../../../.oxfmtrc.json", import.meta.url);

export const titles: Readonly<Record<BackendName, string>> = {
  redis: "Redis",
  postgres: "PostgreSQL",
  sqlite: "SQLite",
  nats: "NATS",
  memory: "Memory",
  file: "Files",
};

type Numbers = Partial<Record<BackendName, BackendResults>>;

/** Puts new scenarios in the place of old ones of the same name, and leaves the others as they are. */
export function merge(old: BackendResults | undefined, fresh: BackendResults): BackendResults {
  const both = { ...old?.scenarios, ...fresh.scenarios };
  const order = scenarios.map(({ name }) => name).filter((name) => name in both);
  return { ...fresh, scenarios: Object.fromEntries(order.map((name) => [name, both[name]!])) };
}

/** What stands between the marks of a backend. */
export function section(of: BackendResults): string[] {
  const all = Object.values(of.scenarios);
  const failures = Object.entries(of.scenarios).flatMap(([name, { failures }]) =>
    failures.map(({ contestant, error }) => `- ${contestant} failed in \`${name}\`: ${error.replaceAll("\n", " ")}`),
  );
  const dates = [...new Set(all.map(({ takenOn }) => takenOn))].toSorted();
  const rounds = [...new Set(all.map((one) => one.rounds))].toSorted((a, b) => a - b);
  const tasks = all.reduce((sum, one) => sum + one.tasks, 0);
  return [
    `${of.server}; ${of.durability}. ${of.machine}. Medians of ${rounds.join(" or ")} round${rounds.at(-1) === 1 ? "" : "s"}, ${dates.join(", ")}; ` +
      `${tasks.toLocaleString("en")} tasks, each found done exactly once or still waiting${failures.length > 0 ? ", but for the failures below" : ""}.`,
    "",
    ...markdownTables(of, all),
    "",
    ...(failures.length > 0 ? [...failures, ""] : []),
    "| contestant | versions | settings | durability | results |",
    "| --- | --- | --- | --- | --- |",
    ...of.contestants.map(
      (one) => `| ${[one.name, one.versions, one.settings, one.durability, one.results].join(" | ")} |`,
    ),
  ];
}

/** Replaces what stands between the marks of a backend or of the chart. */
export function withSection(text: string, backend: BackendName | "chart", lines: readonly string[]): string {
  const [begin, end] = [`<!-- bench:${backend} -->`, `<!-- /bench:${backend} -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from === -1 || to < from) throw new Error(`docs/performance.md lacks the marks ${begin} … ${end}`);
  return `${text.slice(0, from + begin.length)}\n${lines.join("\n")}\n${text.slice(to)}`;
}

/** The numbers as their file holds them: the check of the repository's format looks at it, too. */
export async function numbersText(all: Numbers): Promise<string> {
  const options = JSON.parse(readFileSync(formatting, "utf8")) as FormatConfig;
  const { code, errors } = await format("measured.json", JSON.stringify(all, rounded, 2), options);
  if (errors.length > 0) throw new Error(`measured.json could not be formatted: ${errors[0]?.message}`);
  return code;
}

export async function writeDocument(fresh: Numbers): Promise<void> {
  const known = existsSync(numbers) ? (JSON.parse(readFileSync(numbers, "utf8")) as Numbers) : {};
  const all: Numbers = {};
  let text = readFileSync(document, "utf8");
  for (const backend of backendNames) {
    const results = fresh[backend] === undefined ? known[backend] : merge(known[backend], fresh[backend]);
    if (results === undefined) continue;
    all[backend] = results;
    text = withSection(text, backend, section(results));
  }
  text = withSection(text, "chart", ["![OmniQ beside the best peer of each measure](performance.svg)"]);
  writeFileSync(numbers, await numbersText(all));
  writeFileSync(document, text);
  writeFileSync(
    chart,
    chartSvg(Object.fromEntries(Object.entries(all).map(([name, of]) => [titles[name as BackendName], of]))),
  );
}

/** Four figures are more than the measurements are good for. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
}
