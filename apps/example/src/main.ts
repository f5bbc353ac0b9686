// The document mill: measures every file of a folder through a queue, and checks that nothing was lost or recorded twice.
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Presets, SingleBar } from "cli-progress";
import { Command, InvalidArgumentError } from "commander";
import { isOmniQError, OmniQ } from "@omniq/core";
import { audit } from "./audit.ts";
import { findFiles } from "./files.ts";
import { eventsTable, factsTable, resultsTable } from "./report.ts";
import { measureFile, summarize, takeStock } from "./tasks.ts";
import { startWorkers } from "./workers.ts";

const repository = fileURLToPath(new URL("../../../", import.meta.url));
const defaultConfig = fileURLToPath(new URL("../config/sqlite.yaml", import.meta.url));

function whole(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < minimum)
      throw new InvalidArgumentError(`A whole number of at least ${minimum} is needed.`);
    return value;
  };
}
const options = new Command("example")
  .description("Measures every text file of a folder, a task each, and shows the results.")
  .option("--config <file>", "which backends to use (YAML or JSON)", defaultConfig)
  .option("--dir <folder>", "the folder to measure", repository)
  .option("--workers <n>", "worker processes", whole(1), 2)
  .option("--slow <ms>", "make every task take this much longer", whole(0), 0)
  .option("--rows <n>", "files to show", whole(0), 10)
  .parse()
  .opts<{ config: string; dir: string; workers: number; slow: number; rows: number }>();

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(2)} s`;
const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

async function main(): Promise<number> {
  const config = resolve(options.config);
  const root = resolve(options.dir);
  const files = await findFiles(root);
  if (files.length === 0) throw new Error(`${root} has no text files to measure`);
  if (config === defaultConfig) await mkdir(new URL("../.omniq/", import.meta.url), { recursive: true });

  const omniq = await OmniQ.load({ file: config });
  await omniq.connect();
  console.log(`Backends from ${relative(process.cwd(), config) || config}.`);

  const run = randomUUID().slice(0, 8);
  const bar = new SingleBar(
    {
      format: "{bar} {percentage}% | {value}/{total} tasks | {duration_formatted}",
      hideCursor: true,
      noTTYOutput: true,
      notTTYSchedule: 1_000,
    },
    Presets.shades_classic,
  );
  const workers = await startWorkers(omniq, config, options.workers, (line) => console.log(`\n${line}`));
  console.log(`${files.length} files, ${workers.description}.`);

  const started = Date.now();
  await omniq.schedules.put(`take-stock-${run}`, { everyMs: 1_000, task: takeStock.with() });
  const calls = files.map((path) =>
    measureFile.with(
      { root, path, slowMs: options.slow },
      { id: `${run}/${path}`.slice(0, 120) + (path.length > 110 ? `-${files.indexOf(path)}` : "") },
    ),
  );
  const summary = await omniq.enqueue(summarize, undefined, {
    id: `${run}/summary`,
    dependsOn: { measurements: calls },
  });
  const handles = calls.map((call) => omniq.handle(measureFile, call.options.id ?? ""));
  const enqueued = Date.now();

  bar.start(handles.length + 1, 0);
  const [total, ...measurements] = await Promise.all([
    summary.result().finally(() => bar.increment()),
    ...handles.map((handle) => handle.result().finally(() => bar.increment())),
  ]);
  const finished = Date.now();
  bar.stop();
  const schedule = await omniq.schedules.get(`take-stock-${run}`);
  await omniq.schedules.delete(`take-stock-${run}`);
  await workers.stop();

  const found = await audit(omniq, [summary, ...handles]);
  console.log(resultsTable(measurements, total, options.rows));
  const attempts = found.tasks.map((task) => task.attempt);
  console.log(
    factsTable([
      ["enqueued in", seconds(enqueued - started)],
      ["finished in", seconds(finished - started)],
      ["tasks a second", ((handles.length + 1) / ((finished - started) / 1_000)).toFixed(0)],
      ["tasks that were retried", String(attempts.filter((attempt) => attempt > 1).length)],
      [
        "median time in handlers",
        `${percentile(
          found.tasks.map((task) => task.ranMs),
          0.5,
        )} ms`,
      ],
      [
        "95th percentile",
        `${percentile(
          found.tasks.map((task) => task.ranMs),
          0.95,
        )} ms`,
      ],
      ["occurrences of the schedule", String(schedule?.runs ?? 0)],
      ["lost", String(found.lost.length)],
      ["recorded twice", String(found.twice.length)],
    ]),
  );
  if (found.slowest !== undefined)
    console.log(`The slowest task, ${found.slowest.id}:\n${eventsTable(found.slowest.events)}`);
  await omniq.close();
  for (const id of found.lost) console.error(`lost: ${id}`);
  for (const id of found.twice) console.error(`recorded twice: ${id}`);
  return found.lost.length + found.twice.length === 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(
    isOmniQError(error) ? `${error.code}: ${error.message}` : error instanceof Error ? error.message : error,
  );
  process.exitCode = 1;
  // Workers and open connections must not keep a run alive that has failed.
  setTimeout(() => process.exit(1), 2_000).unref();
}
