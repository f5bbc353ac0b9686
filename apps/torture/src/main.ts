// `pnpm torture --backend X --minutes M --seed S`: producers, workers and schedulers in many processes, faults from a seed, then an audit.
import { fork, type ChildProcess } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { OmniQ } from "@omniq/core";
import { audit, type Fault } from "./audit.ts";
import { planFaults, type PlannedFault } from "./faults.ts";
import { asleep, passBy, type Sleeper } from "./pass-by.ts";
import { patiently } from "./patience.ts";
import { tick } from "./tasks.ts";

const options = new Command("torture")
  .requiredOption("--config <file>", "the backends (scripts/torture.mjs makes it from --backend)")
  .option("--minutes <n>", "how long faults are injected", Number, 1)
  .option("--seed <n>", "the seed of all faults", Number, Date.now() % 1_000_000)
  .option("--workers <n>", "worker processes", Number, 4)
  .option("--producers <n>", "producer processes", Number, 2)
  .option("--every <ms>", "mean time between faults", Number, 650)
  .option(
    "--pass-by <n>",
    "workers that the parent process stops until the log has passed them by, one after the other",
    Number,
    0,
  )
  .option("--servers <n>", "own servers, which the parent process restarts or cuts off when it is asked to", Number, 0)
  .parse()
  .opts<{
    config: string;
    minutes: number;
    seed: number;
    workers: number;
    producers: number;
    every: number;
    passBy: number;
    servers: number;
  }>();

const folder = mkdtempSync(join(tmpdir(), "omniq-torture-"));
const journals = join(folder, "journals");
mkdirSync(journals);
const schedules = ["every-second", "every-second-too"];
const faults: Fault[] = [];
const children = new Set<ChildProcess>();
/** Who runs in which place; who takes over from a dead process takes its place, so that the plan hits the same kind. */
const places: Sleeper[] = [];
let serial = 0;
let replacing = true;

function start(program: "worker" | "producer", place: number, ...rest: readonly string[]): void {
  const journal = join(journals, `${program}-${++serial}.jsonl`);
  const child = fork(fileURLToPath(new URL(`./${program}.js`, import.meta.url)), [options.config, journal, ...rest], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  let said = "";
  child.stderr?.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-2_000)));
  children.add(child);
  places[place] = { child, journal };
  child.once("exit", (code, signal) => {
    children.delete(child);
    if (child.pid !== undefined && signal !== null)
      faults.push({ pid: child.pid, from: Date.now() - 100, to: Date.now() });
    // A producer that ended by itself is done; one that failed is a finding.
    if (code !== 0 && code !== null) unexpected.push(`${program} ${child.pid} ended with ${code}: ${said}`);
    if (replacing && (program === "worker" || code !== 0)) start(program, place, ...rest);
  });
}
const unexpected: string[] = [];

type Count = Record<PlannedFault["kind"], number>;

async function injectFaults(plan: readonly PlannedFault[]): Promise<Count> {
  const count: Count = { kill: 0, suspend: 0, restart: 0, cut: 0 };
  for (const fault of plan) {
    await sleep(fault.afterMs);
    if (fault.kind === "restart" || fault.kind === "cut") process.send?.(fault);
    else {
      const victim = places[fault.process]?.child;
      // A producer that is done leaves its place empty.
      if (victim?.pid === undefined || victim.exitCode !== null || asleep.has(victim.pid)) continue;
      if (fault.kind === "suspend") {
        faults.push({ pid: victim.pid, from: Date.now(), to: Date.now() + fault.stopMs + 1_000 });
        victim.kill("SIGSTOP");
        void sleep(fault.stopMs).then(() => victim.kill("SIGCONT"));
      } else victim.kill("SIGKILL");
    }
    count[fault.kind]++;
  }
  return count;
}

/** Stops one worker after the other until the log has passed it by; answers with how many there were. */
async function passByWorkers(until: number): Promise<number> {
  let done = 0;
  for (; done < options.passBy && Date.now() < until; done++) {
    // The first place is a worker's, and whoever is there has had time to do something.
    await sleep(Math.max(5_000, 2 * options.every));
    const place = done % options.workers;
    const sleeper = places[place];
    if (sleeper === undefined) continue;
    try {
      faults.push(await passBy(sleeper));
    } catch (error) {
      unexpected.push(String(error));
    }
  }
  return done;
}

async function main(): Promise<number> {
  console.log(
    `seed ${options.seed}, ${options.minutes} minutes, ${options.workers} workers, ${options.producers} producers`,
  );
  const omniq = await OmniQ.load({ file: options.config });
  await patiently(() => omniq.connect());
  for (const id of schedules)
    await patiently(() => omniq.schedules.put(id, { everyMs: 1_000, missed: "all", task: tick.with() }));
  const until = Date.now() + options.minutes * 60_000;
  let place = 0;
  for (let index = 0; index < options.workers; index++) start("worker", place++, "torture");
  start("worker", place++, "poison");
  for (let index = 0; index < options.producers; index++)
    start("producer", place++, String(options.seed + index), String(until));
  const passing = passByWorkers(until);
  const count = await injectFaults(
    planFaults(options.seed, options.minutes * 60_000, options.every, place, options.servers),
  );
  const passedBy = await passing;
  for (const id of schedules) await patiently(() => omniq.schedules.pause(id));
  // Without faults, all that was accepted must come to its end.
  const limit = Date.now() + 300_000;
  for (;;) {
    const counts = [];
    for (const name of ["torture", "poison"]) counts.push(await patiently(() => omniq.queue(name).counts()));
    const left = counts.reduce(
      (total, one) => total + one.blocked + one.scheduled + one.ready + one.active + one.unrecorded,
      0,
    );
    const producing = [...children].some((child) => child.spawnargs.some((word) => word.endsWith("producer.js")));
    if (left === 0 && !producing) break;
    if (Date.now() > limit) {
      unexpected.push(`${left} tasks were still live five minutes after the last fault`);
      break;
    }
    await sleep(250);
  }
  replacing = false;
  await Promise.all(
    [...children].map(
      (child) =>
        new Promise((resolve) => {
          child.once("exit", resolve);
          child.kill("SIGTERM");
        }),
    ),
  );
  const found = await patiently(() => audit(omniq, journals, faults, schedules));
  await omniq.close();
  const violations = [...unexpected, ...found.violations];
  console.log(
    `${found.accepted} accepted, ${found.leases} leases, ${found.executions} executions, ${found.occurrences} scheduled, ${count.kill} kills, ${count.suspend} suspensions, ${count.restart} server restarts, ${count.cut} cuts, ${passedBy} passed by, longest call ${found.longest === undefined ? "below 0.5 s" : `${found.longest.verb} ${found.longest.ms} ms`}, ${found.unlucky} dead letters by faults: ${violations.length} violations`,
  );
  for (const violation of violations.slice(0, 50)) console.log(`  ${violation}`);
  if (violations.length === 0) rmSync(folder, { recursive: true, force: true });
  else
    console.log(
      `journals: ${folder}; configuration: ${readFileSync(options.config, "utf8").length} bytes at ${options.config}`,
    );
  return violations.length === 0 ? 0 : 1;
}

process.exitCode = await main();
if (process.connected) process.disconnect();
