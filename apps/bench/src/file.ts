// `node dist/file.js`: the File backend on a local disk, and over a store with round trips: tasks a second, requests and bytes a task.
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { defineTask, OmniQ, type Backend, type Lease } from "@omniq/core";
import { file, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { median, plainTask, withFolder } from "./measure.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** A store in memory with a round trip, which counts what a cloud would bill. */
class DistantStore extends MemoryObjectStore {
  override readonly reach = "network" as never;
  readonly #halfMs: number;
  writes = 0;
  reads = 0;
  lists = 0;
  bytes = 0;

  constructor(objects: MemoryObjects, roundTripMs: number) {
    super(objects);
    this.#halfMs = roundTripMs / 2;
  }
  get requests(): number {
    return this.writes + this.reads + this.lists;
  }
  override async read(key: string) {
    this.reads++;
    return await this.#far(() => super.read(key));
  }
  override async create(key: string, body: Uint8Array) {
    this.writes++;
    this.bytes += body.byteLength;
    return await this.#far(() => super.create(key, body));
  }
  override async list(prefix: string, after?: string, limit?: number) {
    this.lists++;
    return await this.#far(() => super.list(prefix, after, limit));
  }
  override watch: never = undefined as never;
  async #far<T>(call: () => Promise<T>): Promise<T> {
    if (this.#halfMs > 0) await sleep(this.#halfMs);
    const answer = await call();
    if (this.#halfMs > 0) await sleep(this.#halfMs);
    return answer;
  }
}

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

/** List prices of S3 Standard in us-east-1: dollars for a request. */
const price = { write: 0.005 / 1_000, read: 0.0004 / 1_000 };

async function distant(roundTripMs: number, batch: number): Promise<void> {
  const count = Math.min(20_000, Math.max(100, batch * 40));
  const objects = new MemoryObjects();
  const stores = [new DistantStore(objects, roundTripMs), new DistantStore(objects, roundTripMs)] as const;
  await using producer = file({ store: stores[0] });
  await using consumer = file({ store: stores[1] });
  await Promise.all([producer.taskQueue().counts(), consumer.taskQueue().counts()]);
  const before = stores.map(({ writes, reads, lists, bytes }) => ({ writes, reads, lists, bytes }));
  const seconds = await run(producer, consumer, count, batch);
  const sum = (name: "writes" | "reads" | "lists" | "bytes"): number =>
    stores.reduce((total, store, index) => total + store[name] - (before[index]?.[name] ?? 0), 0);
  const dollars = ((sum("writes") + sum("lists")) * price.write + sum("reads") * price.read) / count;
  console.log(
    `| ${roundTripMs} | ${batch} | ${(count / seconds).toFixed(0)} | ${((sum("writes") + sum("reads") + sum("lists")) / count).toFixed(3)} | ${(sum("bytes") / count).toFixed(0)} | ${(dollars * 30_000_000).toFixed(2)} |`,
  );
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
console.log(
  `local disk: ${(await repeat((folder) => localEnqueue(folder, 20_000))).toFixed(0)} durable enqueues/s by 500 callers`,
);
console.log(
  `local disk: ${(await repeat((folder) => localDrain(folder, 20_000))).toFixed(0)} tasks/s drained at concurrency 100`,
);
for (const count of process.argv.includes("--million") ? [100_000, 1_000_000] : [100_000])
  await withFolder((folder) => backlog(folder, count));
console.log(
  "| round trip, ms | batch | tasks/s | requests a task | bytes a task | dollars a month at 1 million tasks a day |",
);
console.log("| --- | --- | --- | --- | --- | --- |");
for (const roundTripMs of [0, 10, 50, 100]) for (const batch of [1, 10, 100, 1_000]) await distant(roundTripMs, batch);
