// A store in memory with a round trip, which counts what a cloud would bill; and a busy queue on it, as an application sees it.
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, OmniQ } from "@omniq/core";
import {
  file,
  MemoryObjects,
  MemoryObjectStore,
  type CreateAnswer,
  type ListAnswer,
  type ReadAnswer,
} from "@omniq/file";

/** One client of the store. */
export class DistantStore extends MemoryObjectStore {
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
  override async read(key: string): Promise<ReadAnswer> {
    this.reads++;
    return await this.#far(() => super.read(key));
  }
  override async create(key: string, body: Uint8Array): Promise<CreateAnswer> {
    this.writes++;
    this.bytes += body.byteLength;
    return await this.#far(() => super.create(key, body));
  }
  override async list(prefix: string, after?: string, limit?: number): Promise<ListAnswer> {
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

/** List prices of S3 Standard in us-east-1: dollars for a request. */
const price = { write: 0.005 / 1_000, read: 0.0004 / 1_000 };

/** What clients of a store asked it for since they were last looked at. */
export class Bill {
  readonly #stores: readonly DistantStore[];
  readonly #before: { readonly writes: number; readonly reads: number; readonly lists: number; readonly bytes: number };

  constructor(stores: readonly DistantStore[]) {
    this.#stores = stores;
    this.#before = {
      writes: this.#sum("writes"),
      reads: this.#sum("reads"),
      lists: this.#sum("lists"),
      bytes: this.#sum("bytes"),
    };
  }
  /** Columns of a table: tasks a second, requests and bytes a task, dollars a month at a million tasks a day. */
  row(count: number, seconds: number): string {
    const writes = this.#since("writes") + this.#since("lists");
    const reads = this.#since("reads");
    const dollars = (writes * price.write + reads * price.read) / count;
    return [
      (count / seconds).toFixed(0),
      ((writes + reads) / count).toFixed(3),
      (this.#since("bytes") / count).toFixed(0),
      (dollars * 30_000_000).toFixed(2),
    ].join(" | ");
  }
  #sum(name: "writes" | "reads" | "lists" | "bytes"): number {
    return this.#stores.reduce((total, store) => total + store[name], 0);
  }
  #since(name: "writes" | "reads" | "lists" | "bytes"): number {
    return this.#sum(name) - this.#before[name];
  }
}

export interface Busy {
  readonly roundTripMs: number;
  /** Callers that enqueue one task after the other, in one process. */
  readonly callers: number;
  /** Workers in processes of their own, and what each does side by side. */
  readonly workers: number;
  readonly concurrency: number;
  readonly count: number;
}

/** Tasks are enqueued one by one and handled at the same time, as an application does it. Answers with seconds, and columns of a table. */
export async function busy({
  roundTripMs,
  callers,
  workers,
  concurrency,
  count,
}: Busy): Promise<readonly [number, string]> {
  const objects = new MemoryObjects();
  const stores = Array.from({ length: 1 + workers }, () => new DistantStore(objects, roundTripMs));
  const clients = stores.map((store) => new OmniQ({ taskQueue: file({ store }), logLevel: "warn" }));
  await Promise.all(clients.map((client) => client.connect()));
  let done = 0;
  let finish = (): void => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const work = defineTask({
    name: "bench",
    run: () => {
      if (++done === count) finish();
    },
  });
  const [producer, ...consumers] = clients as [OmniQ, ...OmniQ[]];
  const bill = new Bill(stores);
  const started = performance.now();
  const running = consumers.map((client) => client.worker({ tasks: [work], concurrency }));
  await Promise.all(running.map((worker) => worker.start()));
  let next = 0;
  await Promise.all([
    ...Array.from({ length: callers }, async () => {
      while (next++ < count) await producer.enqueue(work);
    }),
    finished,
  ]);
  await Promise.all(running.map((worker) => worker.stop()));
  const seconds = (performance.now() - started) / 1_000;
  const row = bill.row(count, seconds);
  await Promise.all(clients.map((client) => client.close()));
  return [seconds, row];
}
