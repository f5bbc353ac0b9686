// `pnpm torture --backend X --minutes M --seed S`: producers, workers and schedulers in many processes, faults from a seed, then an audit.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { OmniQ } from "@omniq/core";
import { audit, type Findings } from "./audit.ts";
import type { Crew, CrewOptions } from "./crew.ts";
import { planFaults, type Targets } from "./faults.ts";
import { hostMs } from "./host-time.ts";
import { InProcessCrew } from "./in-process.ts";
import { inject, type Count } from "./inject.ts";
import { openJournal } from "./journal.ts";
import { passByWorkers } from "./pass-by.ts";
import { patiently } from "./patience.ts";
import { ProcessCrew } from "./processes.ts";
import { cancelTheDoomed, fillPaused, retryTheDead } from "./produce.ts";
import { leaseMs, tick } from "./tasks.ts";

const options = new Command("torture")
  .requiredOption("--config <file>", "the backends (scripts/torture.mjs makes it from --backend)")
  .option("--minutes <n>", "how long faults are injected", Number, 1)
  .option("--seed <n>", "the seed of all faults", Number, Date.now() % 1_000_000)
  .option("--workers <n>", "worker processes", Number, 4)
  .option("--producers <n>", "producer processes", Number, 2)
  .option("--every <ms>", "mean time between faults", Number, 650)
  .option("--servers <json>", "own servers, which the parent process does faults to when it is asked", String, "[]")
  .option("--clock-library <file>", "libfaketime: each process's clock is set")
  .option("--host-clock <file>", "the file by which this process's clock and those of all its children are set")
  .option("--tolerance <ms>", "how far two views of the store's clock may differ", Number, 5)
  .option(
    "--pass-by <n>",
    "workers that the parent stops until the log has passed them by, one after the other",
    Number,
    0,
  )
  .option("--in-process", "everything in this process, for backends that live in one", false)
  .parse()
  .opts<{
    config: string;
    minutes: number;
    seed: number;
    workers: number;
    producers: number;
    every: number;
    servers: string;
    clockLibrary?: string;
    hostClock?: string;
    tolerance: number;
    passBy: number;
    inProcess: boolean;
  }>();
const { config, seed, workers, producers, hostClock } = options;

const folder = mkdtempSync(join(tmpdir(), "omniq-torture-"));
const journals = join(folder, "journals");
mkdirSync(journals);
const schedules = ["every-second", "every-second-too"];

/** Waits until all that was accepted has come to its end. */
async function settle(omniq: OmniQ, crew: Crew): Promise<void> {
  const limit = hostMs() + 600_000 + 5 * leaseMs;
  for (;;) {
    let left = 0;
    for (const name of ["torture", "poison"]) {
      const { blocked, scheduled, ready, active, unrecorded } = await patiently(() => omniq.queue(name).counts());
      left += blocked + scheduled + ready + active + unrecorded;
    }
    if (left === 0 && !crew.producing()) return;
    if (hostMs() > limit) {
      crew.unexpected.push(`${left} tasks were still live ten minutes after the last fault`);
      return;
    }
    await sleep(250);
  }
}

async function main(): Promise<number> {
  console.log(`seed ${seed}, ${options.minutes} minutes, ${workers} workers, ${producers} producers`);
  const omniq = await OmniQ.load({ file: config });
  await patiently(() => omniq.connect());
  for (const id of schedules)
    await patiently(() => omniq.schedules.put(id, { everyMs: 1_000, missed: "all", task: tick.with() }));
  const until = hostMs() + options.minutes * 60_000;
  const { clockLibrary } = options;
  const crewOptions: CrewOptions = { config, journals, workers, producers, seed, until, clockLibrary };
  const crew = options.inProcess ? await InProcessCrew.start(crewOptions) : new ProcessCrew(crewOptions);
  const plan = planFaults(seed, options.minutes * 60_000, options.every, {
    workers,
    processes: workers + 1 + producers,
    servers: JSON.parse(options.servers) as Targets["servers"],
    clocks: hostClock !== undefined ? "host" : clockLibrary !== undefined ? "processes" : "none",
  });
  const passing =
    crew instanceof ProcessCrew ? passByWorkers(crew, workers, options.passBy, Math.max(5_000, 2 * options.every)) : 0;
  const { count, storeSteps, outages } = await inject(plan, { crew, hostClock });
  const passedBy = await passing;
  for (const id of schedules) await patiently(() => omniq.schedules.pause(id));
  if (!options.inProcess) openJournal(join(journals, "main.jsonl"));
  await patiently(() => cancelTheDoomed(omniq));
  await settle(omniq, crew);
  const ends = [...crew.ends, ...outages.flatMap(({ from, to }) => [from, to])];
  await patiently(() => retryTheDead(omniq));
  await patiently(() => fillPaused(omniq, seed));
  await settle(omniq, crew);
  await crew.end();
  const circumstances = { faults: [...crew.faults, ...outages], ends, storeSteps, toleranceMs: options.tolerance };
  writeFileSync(join(folder, "circumstances.json"), JSON.stringify(circumstances));
  const found = await patiently(() => audit(omniq, journals, circumstances, schedules));
  await omniq.close();
  return report(found, count, passedBy, crew.unexpected);
}

function report(found: Findings, count: Count, passedBy: number, unexpected: readonly string[]): number {
  const violations = [...unexpected, ...found.violations];
  console.log(
    `faults: ${count.kill} kills, ${count.stop} stops, ${count.suspend} suspensions, ${count.restart} server restarts, ${count.cut} cuts, ${count.clock} clock steps, ${found.blocked} blocked event loops, ${passedBy} passed by`,
  );
  console.log(
    `judged: ${found.leases} leases, ${found.executions} executions, ${found.redeliveries} redeliveries (${found.unexplained} with no fault but a busy host), ${found.releases} releases (${found.putOff} with a delay), ${found.ordered} orders, ${found.revived} retried dead letters, ${found.cancelled} cancelled, ${found.occurrences} scheduled`,
  );
  const { longest } = found;
  console.log(
    `longest call without a fault: ${longest === undefined ? "below 500 ms" : `${longest.verb}, ${longest.ms} ms`}`,
  );
  console.log(`${found.accepted} accepted, ${found.unlucky} dead letters by faults: ${violations.length} violations`);
  for (const violation of violations.slice(0, 50)) console.log(`  ${violation}`);
  if (violations.length === 0) rmSync(folder, { recursive: true, force: true });
  else console.log(`journals: ${folder}; configuration: ${config}`);
  return violations.length === 0 ? 0 : 1;
}

process.exitCode = await main();
if (process.connected) process.disconnect();
