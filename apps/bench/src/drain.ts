// `node dist/drain.js [REPEATS]`: draining SQLite at concurrency 100 by one process, OmniQ beside plainjob, results stored, equal
// `synchronous`. Every run is a process of its own on a new file; the contestants take turns, and who begins changes.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { better, defineQueue, defineWorker } from "plainjob";
import { defineTask, OmniQ } from "@omniq/core";
import { sqlite, sqliteDriver } from "@omniq/sqlite";
import { median, withFolder } from "./measure.ts";

type Synchronous = "full" | "normal";
const quiet = { error: console.error, warn: console.warn, info: () => {}, debug: () => {} };

async function omniqRate(folder: string, count: number, synchronous: Synchronous): Promise<number> {
  let done = 0;
  const work = defineTask({ name: "work", run: () => ++done });
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath: `${folder}/omniq.db`, synchronous }) });
  for (let from = 0; from < count; from += 1_000)
    await omniq.enqueueMany(Array.from({ length: 1_000 }, () => work.with()));
  const started = performance.now();
  await omniq.worker({ tasks: [work], concurrency: 100 }).drain();
  const rate = count / ((performance.now() - started) / 1_000);
  await omniq.close();
  if (done !== count) throw new Error(`${done} of ${count} tasks ran`);
  return rate;
}

/** With the settings that plainjob makes and recommends itself (WAL); its rows stay as `done`, which is all that it has of results. */
async function plainjobRate(
  folder: string,
  count: number,
  synchronous: Synchronous,
  workerCount: number,
): Promise<number> {
  const database = new (sqliteDriver())(`${folder}/plainjob.db`);
  const queue = defineQueue({ connection: better(database as never), logger: quiet });
  // After the queue's own pragmas, so that both contestants are equally durable.
  database.pragma(`synchronous = ${synchronous}`);
  queue.addMany(
    "work",
    Array.from({ length: count }, () => ({})),
  );
  let done = 0;
  const started = performance.now();
  await new Promise<void>((resolve) => {
    const run = (): void => {
      if (++done === count) resolve();
    };
    for (let index = 0; index < workerCount; index++) {
      void defineWorker("work", run, { queue, logger: quiet }).start();
    }
  });
  return count / ((performance.now() - started) / 1_000);
}

const contestants = {
  OmniQ: omniqRate,
  "plainjob, 100 workers": async (folder: string, count: number, synchronous: Synchronous) =>
    plainjobRate(folder, count, synchronous, 100),
  "plainjob, 1 worker": async (folder: string, count: number, synchronous: Synchronous) =>
    plainjobRate(folder, count, synchronous, 1),
};
type Contestant = keyof typeof contestants;

/** Both run for about a second or longer, so that starting up weighs little on either. */
const counts: Readonly<Record<Synchronous, Readonly<Record<"ours" | "theirs", number>>>> = {
  full: { ours: 90_000, theirs: 6_000 },
  normal: { ours: 150_000, theirs: 30_000 },
};

function inOwnProcess(contestant: Contestant, synchronous: Synchronous): number {
  const { stdout, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), contestant, synchronous], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${contestant} failed`);
  return Number(stdout);
}

async function main(repeats: number): Promise<void> {
  for (const synchronous of ["full", "normal"] as const) {
    const rates = new Map<Contestant, number[]>();
    for (let repeat = 0; repeat < repeats; repeat++) {
      const order = Object.keys(contestants) as Contestant[];
      if (repeat % 2 === 1) order.reverse();
      for (const contestant of order) {
        const rate = inOwnProcess(contestant, synchronous);
        rates.set(contestant, [...(rates.get(contestant) ?? []), rate]);
      }
      const line = [...rates].map(([name, all]) => `${name} ${(all.at(-1) ?? 0).toFixed(0)}/s`);
      console.log(`synchronous ${synchronous}: ${line.join("; ")}`);
    }
    const of = (name: Contestant): readonly number[] => rates.get(name) ?? [];
    for (const [name, aim] of [
      ["plainjob, 100 workers", " (aim: at least 5)"],
      ["plainjob, 1 worker", ""],
    ] as const) {
      const ratio = median(of("OmniQ").map((rate, index) => rate / (of(name)[index] ?? Number.NaN)));
      console.log(`synchronous ${synchronous}: median ratio to ${name} ${ratio.toFixed(1)}${aim}`);
    }
  }
}

const [first, second] = process.argv.slice(2);
if (first !== undefined && Object.hasOwn(contestants, first)) {
  const synchronous = second as Synchronous;
  const rate = await withFolder((folder) =>
    contestants[first as Contestant](folder, counts[synchronous][first === "OmniQ" ? "ours" : "theirs"], synchronous),
  );
  // plainjob's workers have no end of their own.
  process.stdout.write(String(rate), () => process.exit(0));
} else {
  await main(Number(first ?? 5));
}
