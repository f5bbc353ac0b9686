// `pnpm bench [backend…]`: OmniQ beside other queues, each on the same server in the same run, in turn; see docs/performance.md.
import { readFileSync, writeFileSync } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { backendNames, type BackendName } from "./frame/contestant.ts";
import { entrantsOf, type Entrant } from "./frame/discover.ts";
import { startProgress } from "./frame/progress.ts";
import { inTurn, runOne } from "./frame/rounds.ts";
import type { Scenario } from "./frame/scenario.ts";
import { startHost } from "./hosts/host.ts";
import { titles, writeDocument } from "./report/document.ts";
import { factsOf, machine } from "./report/facts.ts";
import { noteMeasures, type BackendResults, type ScenarioResults } from "./report/results.ts";
import { profileAll } from "./report/profiling.ts";
import { terminalTable } from "./report/table.ts";
import { scenarios } from "./scenarios/index.ts";
import { profiles, type ProfiledScenario } from "./scenarios/profiles.ts";

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
  readonly flame?: string;
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
const profiledNames = [...new Set(profiles.map(({ of }) => of))];
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
    `profile instead (OmniQ, unless --contestant names others; a drain at 100, unless --scenario has some of ${profiledNames.join(", ")}) and print the hottest functions`,
    false,
  )
  .option("--flame <folder>", "as --profile, and draw each profile there: flame-<backend>.svg, for any browser")
  .addHelpText("after", `\nScenarios:\n${about.join("\n")}`)
  .parse();
const options = program.opts<Options>();
const profiling = options.profile || options.flame !== undefined;
const backends = listOf(backendNames)(
  (program.args.length > 0 ? program.args : backendNames).join(","),
) as BackendName[];

const all: Partial<Record<BackendName, BackendResults>> = {};

function chosenScenarios(): readonly Scenario[] {
  return scenarios.filter(({ name, onDemand }) => options.scenario?.includes(name) ?? onDemand !== true);
}

function chosenWorks(): readonly ProfiledScenario[] {
  const unknown = options.scenario?.find((name) => !profiledNames.includes(name));
  if (unknown !== undefined) program.error(`error: ${profiledNames.join(", ")} can be profiled, not ${unknown}`);
  return profiles.filter(({ of }, index) => options.scenario?.includes(of) ?? index === 0);
}

async function chosenEntrants(backend: BackendName): Promise<readonly Entrant[]> {
  const wanted = options.contestant ?? (profiling ? ["OmniQ"] : undefined);
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
  if (profiling) {
    fine = (await profileAll(backend, await chosenEntrants(backend), chosenWorks(), options)) && fine;
    continue;
  }
  const results = await compare(backend);
  const scenariosOf = Object.values(results.scenarios);
  fine = scenariosOf.every(({ failures }) => failures.length === 0) && fine;
}
if (options.write && !profiling) await writeDocument(all);
process.exitCode = fine ? 0 : 1;
