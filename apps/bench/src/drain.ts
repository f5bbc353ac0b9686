// `node dist/drain.js`: draining SQLite at concurrency 100 by one process, OmniQ beside plainjob, results stored, equal `synchronous`.
import { better, defineQueue, defineWorker } from "plainjob";
import { defineTask, OmniQ } from "@omniq/core";
import { sqlite, sqliteDriver } from "@omniq/sqlite";
import { median, withFolder } from "./measure.ts";

const quiet = { error: console.error, warn: console.warn, info: () => {}, debug: () => {} };

async function omniqRate(folder: string, count: number, synchronous: "full" | "normal"): Promise<number> {
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

async function plainjobRate(folder: string, count: number, synchronous: "full" | "normal"): Promise<number> {
  const database = new (sqliteDriver())(`${folder}/plainjob.db`);
  // The driver is typed by what most programs use of it; plainjob asks for the whole class.
  const connection = better(database as never);
  const queue = defineQueue({ connection, logger: quiet });
  // After the queue's own pragmas, so that both contestants are equally durable.
  database.pragma(`synchronous = ${synchronous}`);
  queue.addMany(
    "work",
    Array.from({ length: count }, () => ({})),
  );
  let done = 0;
  const finished = new Promise<void>((resolve) => {
    const workers = Array.from({ length: 100 }, () =>
      defineWorker(
        "work",
        () => {
          if (++done === count) resolve();
        },
        { queue, logger: quiet },
      ),
    );
    for (const worker of workers) void worker.start();
    void finishedWith(workers);
  });
  async function finishedWith(workers: readonly { stop(): Promise<void> }[]): Promise<void> {
    await Promise.resolve();
    await finished;
    for (const worker of workers) void worker.stop();
  }
  const started = performance.now();
  await finished;
  const rate = count / ((performance.now() - started) / 1_000);
  await new Promise((resolve) => setTimeout(resolve, 100));
  queue.close();
  return rate;
}

for (const synchronous of ["full", "normal"] as const) {
  const ratios: number[] = [];
  for (let repeat = 0; repeat < 3; repeat++) {
    const ours = await withFolder((folder) => omniqRate(folder, 20_000, synchronous));
    const theirs = await withFolder((folder) => plainjobRate(folder, 5_000, synchronous));
    ratios.push(ours / theirs);
    console.log(`synchronous ${synchronous}: OmniQ ${ours.toFixed(0)}/s, plainjob ${theirs.toFixed(0)}/s`);
  }
  console.log(`synchronous ${synchronous}: median ratio ${median(ratios).toFixed(1)} (aim: at least 5)`);
}
