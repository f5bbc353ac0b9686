// `node dist/file.js [local] [backlog] [million] [batches] [busy]`: the File backend on a local disk, and over a store with round trips: tasks a
// second, requests and bytes a task. All but the million without a word.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { defineTask, OmniQ, type Backend, type Lease } from "@omniq/core";
import { file, MemoryObjects } from "@omniq/file";
import { Bill, busy, DistantStore } from "./distant.ts";
import { median, plainTask, withFolder } from "./measure.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Calls under way in each process; they ride together. */
const callers = 4;
const reserve = { queues: ["bench"], leaseMs: 60_000, waitMs: 0, worker: "bench" } as const;

/** Callers of one process enqueue batch after batch while those of another drain them; answers with seconds. */
async function run(producer: Backend, consumer: Backend, count: number, batch: number): Promise<number> {
  const started = performance.now();
  let next = 0;
  let done = 0;
  const produce = async (): Promise<void> => {
    const queue = producer.taskQueue();
    while (next < count) {
      const tasks = Array.from({ length: Math.min(batch, count - next) }, () => plainTask(`t${next++}`));
      await queue.enqueue([{ tasks }]);
    }
  };
  const consume = async (): Promise<void> => {
    const queue = consumer.taskQueue();
    let leases: readonly Lease[] = [];
    while (done < count) {
      if (leases.length === 0) leases = await queue.reserve({ ...reserve, limit: batch, waitMs: 200 });
      if (leases.length === 0) continue;
      done += leases.length;
      const settlements = leases.map(
        (lease) => ({ ...lease, outcome: "completed", storeResult: true, value: "1" }) as const,
      );
      leases = (await queue.settleAndReserve?.(settlements, { ...reserve, limit: batch }))?.leases ?? [];
    }
  };
  const pairs = Array.from({ length: callers }, () => [produce(), consume()]);
  await Promise.all(pairs.flat());
  return (performance.now() - started) / 1_000;
}

async function distant(roundTripMs: number, batch: number): Promise<void> {
  const count = Math.min(40_000, batch * 100);
  const objects = new MemoryObjects();
  const stores = [new DistantStore(objects, roundTripMs), new DistantStore(objects, roundTripMs)] as const;
  await using producer = file({ store: stores[0] });
  await using consumer = file({ store: stores[1] });
  await Promise.all([producer.taskQueue().counts(), consumer.taskQueue().counts()]);
  const bill = new Bill(stores);
  const seconds = await run(producer, consumer, count, batch);
  console.log(`| ${roundTripMs} | ${batch} | ${bill.row(count, seconds)} |`);
}

async function localEnqueue(folder: string, count: number): Promise<number> {
  await using backend = file({ baseDir: folder });
  const queue = backend.taskQueue();
  await queue.counts();
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 500 }, async () => {
      while (next < count) await queue.enqueue([{ tasks: [plainTask(`t${next++}`)] }]);
    }),
  );
  return count / ((performance.now() - started) / 1_000);
}
async function localDrain(folder: string, count: number): Promise<number> {
  let done = 0;
  const work = defineTask({ name: "work", run: () => ++done });
  await using omniq = new OmniQ({ taskQueue: file({ baseDir: folder }) });
  for (let from = 0; from < count; from += 1_000)
    await omniq.enqueueMany(Array.from({ length: 1_000 }, () => work.with()));
  const started = performance.now();
  await omniq.worker({ tasks: [work], concurrency: 100 }).drain();
  return count / ((performance.now() - started) / 1_000);
}
async function backlog(folder: string, count: number): Promise<void> {
  {
    await using backend = file({ baseDir: folder });
    for (let from = 0; from < count; from += 1_000)
      await backend
        .taskQueue()
        .enqueue([{ tasks: Array.from({ length: 1_000 }, (_, index) => plainTask(`t${from + index}`)) }]);
  }
  collect();
  const before = process.memoryUsage().heapUsed;
  const started = performance.now();
  await using backend = file({ baseDir: folder });
  await backend.taskQueue().counts();
  const seconds = (performance.now() - started) / 1_000;
  collect();
  const bytes = (process.memoryUsage().heapUsed - before) / count;
  console.log(`${count} waiting: opened in ${seconds.toFixed(2)} s, ${bytes.toFixed(0)} bytes of memory a task`);
}

const repeat = async (body: (folder: string) => Promise<number>): Promise<number> =>
  median([await withFolder(body), await withFolder(body), await withFolder(body)]);
const head = "tasks/s | requests a task | bytes a task | dollars a month at 1 million tasks a day |";

const parts: Readonly<Record<string, () => Promise<void>>> = {
  local: async () => {
    const enqueued = await repeat((folder) => localEnqueue(folder, 20_000));
    console.log(`local disk: ${enqueued.toFixed(0)} durable enqueues/s by 500 callers`);
    const drained = await repeat((folder) => localDrain(folder, 20_000));
    console.log(`local disk: ${drained.toFixed(0)} tasks/s drained at concurrency 100`);
  },
  backlog: async () => {
    await withFolder((folder) => backlog(folder, 100_000));
  },
  million: async () => {
    await withFolder((folder) => backlog(folder, 1_000_000));
  },
  batches: async () => {
    console.log(`| round trip, ms | batch | ${head}\n| --- | --- | --- | --- | --- | --- |`);
    for (const roundTripMs of [0, 10, 50, 100])
      for (const batch of [1, 10, 100, 1_000]) await distant(roundTripMs, batch);
  },
  busy: async () => {
    console.log(
      `| round trip, ms | workers | concurrency of each | ${head}\n| --- | --- | --- | --- | --- | --- | --- |`,
    );
    for (const roundTripMs of [0, 10, 50, 100]) {
      for (const [workers, concurrency] of [
        [1, 100],
        [1, 1_000],
        [4, 100],
      ] as const) {
        const rounds: (readonly [number, string])[] = [];
        for (let round = 0; round < 3; round++)
          rounds.push(await busy({ roundTripMs, callers: 1_000, workers, concurrency, count: 20_000 }));
        const [, row] = rounds.sort(([a], [b]) => a - b)[1] ?? [];
        console.log(`| ${roundTripMs} | ${workers} | ${concurrency} | ${row} |`);
      }
    }
  },
};
const asked = process.argv.slice(2);
for (const name of asked.length > 0 ? asked : Object.keys(parts).filter((part) => part !== "million")) {
  const part = parts[name];
  if (part === undefined) throw new Error(`${name} is none of ${Object.keys(parts).join(", ")}`);
  await part();
}
