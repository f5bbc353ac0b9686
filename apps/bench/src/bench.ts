// `pnpm bench [backend…]`: OmniQ beside other queues, each on the same server in the same run, in turn; see docs/performance.md.
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import type { Profiler } from "node:inspector/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { backendNames, type BackendName } from "./frame/contestant.ts";
import { entrantsOf, type Entrant } from "./frame/discover.ts";
import { hottest, profileVariable } from "./frame/profile.ts";
import { startProgress } from "./frame/progress.ts";
import { inTurn, runOne } from "./frame/rounds.ts";
import type { Scenario } from "./frame/scenario.ts";
import { startHost } from "./hosts/host.ts";
import { titles, writeDocument } from "./report/document.ts";
import { factsOf, machine } from "./report/facts.ts";
import { noteMeasures, type BackendResults, type ScenarioResults } from "./report/results.ts";
import { showValue } from "./report/numbers.ts";
import { terminalTable } from "./report/table.ts";
import { scenarios } from "./scenarios/index.ts";

interface Options {
  readonly rounds: number;
  readonly quick: boolean;
  readonly scenario?: readonly string[];
  readonly contestant?: readonly string[];
  readonly add: readonly string[];
  readonly json?: string;
  readonly from?: string;
  readonly write: boolean;
  readonly profile: boolean;
}

const listOf =
  (allowed?: readonly string[]) =>
  (text: string): string[] => {
    const names = text.split(",").map((name) => name.trim());
    const wrong = names.find((name) => allowed?.includes(name) === false);
    if (wrong !== undefined) throw new InvalidArgumentError(`known are ${allowed?.join(", ")}, not ${wrong}`);
    return names;
  };
function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError("a whole number from 1");
  return value;
}

const about = scenarios.map((one) => `  ${one.name.padEnd(12)}${one.about}${one.onDemand ? " (only when named)" : ""}`);
const program = new Command("bench")
  .description(
    "OmniQ beside other queues, each on the same server in the same run, in turn. Fails if a task was not done exactly once.",
  )
  .argument("[backend...]", `any of ${backendNames.join(", ")}; default all`)
  .option("--rounds <n>", "how often all is repeated; medians are shown", count, 3)
  .option("--scenario <names>", "some scenarios, by commas", listOf(scenarios.map(({ name }) => name)))
  .option("--contestant <names>", "only contestants whose name has one of these in it, by commas", listOf())
  .option(
    "--add <file>",
    "a contestant of your own (may be repeated)",
    (path: string, all: string[]) => [...all, path],
    [],
  )
  .option("--quick", "a first look with few tasks; its numbers say nothing", false)
  .option("--json <file>", "write the values of all rounds")
  .option("--from <file>", "measure nothing: take the values that --json wrote, to show or --write them")
  .option("--write", "put the numbers into docs/performance.md and its chart", false)
  .option(
    "--profile",
    "profile a drain at 100 instead (OmniQ's, unless --contestant names others) and print the hottest functions",
    false,
  )
  .addHelpText("after", `\nScenarios:\n${about.join("\n")}`)
  .parse();
const options = program.opts<Options>();
const backends = listOf(backendNames)(
  (program.args.length > 0 ? program.args : backendNames).join(","),
) as BackendName[];

const all: Partial<Record<BackendName, BackendResults>> = {};

function chosenScenarios(): readonly Scenario[] {
  return scenarios.filter(({ name, onDemand }) => options.scenario?.includes(name) ?? onDemand !== true);
}

async function chosenEntrants(backend: BackendName): Promise<readonly Entrant[]> {
  const wanted = options.contestant ?? (options.profile ? ["OmniQ"] : undefined);
  const all = await entrantsOf(backend, options.add);
  return all.filter(
    ({ contestant: { name } }) => wanted?.some((part) => name.toLowerCase().includes(part.toLowerCase())) ?? true,
  );
}

/** After every scenario, so that what was measured is kept if the rest is cut off. */
function keep(): void {
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(all, undefined, 1)}\n`);
}

async function compare(backend: BackendName): Promise<BackendResults> {
  const entrants = await chosenEntrants(backend);
  const host = await startHost(backend);
  const results: BackendResults = {
    server: host.server,
    durability: host.durability,
    machine: machine(),
    contestants: entrants.map(({ contestant, module }) => factsOf(contestant, module)),
    scenarios: {},
  };
  all[backend] = results;
  try {
    console.log(`\n${titles[backend]}: ${host.server}; ${host.durability}\n${machine()}`);
    for (const one of results.contestants)
      console.log(`- ${one.name}: ${one.versions}; ${one.settings}; ${one.durability}; results ${one.results}`);
    for (const scenario of chosenScenarios()) {
      const rows: ScenarioResults = {
        takenOn: new Date().toISOString().slice(0, 10),
        rounds: options.rounds,
        tasks: 0,
        rows: [],
        failures: [],
      };
      results.scenarios[scenario.name] = rows;
      const progress = startProgress(options.rounds * entrants.length);
      for (let round = 0; round < options.rounds; round++) {
        for (const entrant of inTurn(entrants, round)) {
          const { name } = entrant.contestant;
          progress.at(`${backend} ${scenario.name}, round ${round + 1} of ${options.rounds}: ${name}`);
          const { measures = [], tasks = 0, error } = await runOne(host, entrant, scenario.name, options.quick);
          noteMeasures(rows, name, measures);
          rows.tasks += tasks;
          if (error !== undefined) rows.failures.push({ contestant: name, error });
        }
      }
      progress.end();
      keep();
      console.log(terminalTable(scenario.name, results, rows));
      for (const { contestant, error } of rows.failures) console.log(`✗ ${contestant}: ${error}`);
    }
  } finally {
    await host.stop();
  }
  return results;
}

async function profile(backend: BackendName): Promise<boolean> {
  const host = await startHost(backend);
  let fine = true;
  try {
    for (const entrant of await chosenEntrants(backend)) {
      const file = join(mkdtempSync(join(tmpdir(), "omniq-profile-")), `${backend}.cpuprofile`);
      process.env[profileVariable] = file;
      const { measures = [], error } = await runOne(host, entrant, "profile", options.quick);
      console.log(
        `\n${titles[backend]}, ${entrant.contestant.name}: ${error ?? measures.map((one) => `${one.name} ${showValue(one.value, one)}`).join(", ")}`,
      );
      if (error !== undefined) {
        fine = false;
        continue;
      }
      for (const { name, share } of hottest(JSON.parse(readFileSync(file, "utf8")) as Profiler.Profile, 20))
        console.log(`${(share * 100).toFixed(1).padStart(6)} %  ${name}`);
      console.log(`for a flame graph: ${file}`);
    }
  } finally {
    await host.stop();
  }
  return fine;
}

// The servers are stopped as the process exits.
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
let fine = true;
if (options.from !== undefined) {
  Object.assign(all, JSON.parse(readFileSync(options.from, "utf8")));
  for (const [backend, results] of Object.entries(all))
    for (const [name, rows] of Object.entries(results.scenarios))
      console.log(terminalTable(`${backend} ${name}`, results, rows));
}
for (const backend of options.from === undefined ? backends : []) {
  if (options.profile) {
    fine = (await profile(backend)) && fine;
    continue;
  }
  const results = await compare(backend);
  const scenariosOf = Object.values(results.scenarios);
  fine = scenariosOf.every(({ failures }) => failures.length === 0) && fine;
}
if (options.write && !options.profile) await writeDocument(all);
process.exitCode = fine ? 0 : 1;
