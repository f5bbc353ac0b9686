// The contestants on Redis, each through the API that its users have: OmniQ, BullMQ, bee-queue. Results are kept by all of them.
import Bee from "bee-queue";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import { defineTask, OmniQ, typeOnly, type Worker as OmniQWorker } from "@omniq/core";
import { redis } from "@omniq/redis";

export interface Contestant {
  readonly name: string;
  addOne(payload: number): Promise<unknown>;
  addMany(count: number): Promise<void>;
  /** Starts a worker; `handle` is called by each task with its payload. Resolves when it listens. */
  work(concurrency: number, handle: (payload: number) => unknown): Promise<{ stop(): Promise<void> }>;
  /** Adds a task and resolves with its result. */
  roundTrip(payload: number): Promise<unknown>;
  close(): Promise<void>;
}

export type ContestantName = "omniq" | "bullmq" | "bee-queue";
export const contestants: readonly ContestantName[] = ["omniq", "bullmq", "bee-queue"];

export function open(name: ContestantName, port: number, prefix: string): Contestant {
  if (name === "omniq") return openOmniQ(port, prefix);
  return name === "bullmq" ? openBull(port, prefix) : openBee(port, prefix);
}

function openOmniQ(port: number, prefix: string): Contestant {
  let handle: (payload: number) => unknown = (payload) => payload;
  const work = defineTask({ name: "work", input: typeOnly<number>(), run: (payload) => handle(payload) });
  const omniq = new OmniQ({ taskQueue: redis({ port, prefix }) });
  return {
    name: "OmniQ",
    addOne: (payload) => omniq.enqueue(work, payload),
    addMany: async (count) => {
      for (let from = 0; from < count; from += 1_000)
        await omniq.enqueueMany(Array.from({ length: Math.min(1_000, count - from) }, (_, n) => work.with(from + n)));
    },
    work: async (concurrency, given) => {
      handle = given;
      const worker: OmniQWorker = omniq.worker({ tasks: [work], concurrency });
      await worker.start();
      return { stop: () => worker.stop() };
    },
    roundTrip: async (payload) => (await omniq.enqueue(work, payload)).result(),
    close: () => omniq.close(),
  };
}

function openBull(port: number, prefix: string): Contestant {
  const connect = (): Redis => new Redis({ port, maxRetriesPerRequest: null });
  const connections: Redis[] = [];
  const connection = (): never => {
    const made = connect();
    connections.push(made);
    return made as never;
  };
  const queue = new Queue("work", { connection: connection(), prefix });
  let events: QueueEvents | undefined;
  queue.setMaxListeners(0);
  return {
    name: "BullMQ",
    addOne: (payload) => queue.add("work", payload),
    addMany: async (count) => {
      for (let from = 0; from < count; from += 1_000)
        await queue.addBulk(
          Array.from({ length: Math.min(1_000, count - from) }, (_, n) => ({ name: "work", data: from + n })),
        );
    },
    work: async (concurrency, handle) => {
      const worker = new Worker("work", async (job: { data: number }) => handle(job.data), {
        connection: connection(),
        prefix,
        concurrency,
      });
      worker.on("error", (error) => console.error(error));
      await worker.waitUntilReady();
      return { stop: () => worker.close() };
    },
    roundTrip: async (payload) => {
      events ??= new QueueEvents("work", { connection: connection(), prefix }).setMaxListeners(0);
      await events.waitUntilReady();
      const job = await queue.add("work", payload);
      return job.waitUntilFinished(events);
    },
    close: async () => {
      await events?.close();
      await queue.close();
      for (const made of connections) made.disconnect();
    },
  };
}

function openBee(port: number, prefix: string): Contestant {
  const settings = { redis: { host: "127.0.0.1", port }, prefix };
  const producer = new Bee<number>("work", { ...settings, isWorker: false });
  return {
    name: "bee-queue",
    addOne: (payload) => producer.createJob(payload).save(),
    addMany: async (count) => {
      for (let from = 0; from < count; from += 1_000)
        await producer.saveAll(
          Array.from({ length: Math.min(1_000, count - from) }, (_, n) => producer.createJob(from + n)),
        );
    },
    work: async (concurrency, handle) => {
      const consumer = new Bee<number>("work", { ...settings, getEvents: false, sendEvents: true });
      await consumer.ready();
      consumer.process(concurrency, async (job: Bee.Job<number>) => handle(job.data));
      return { stop: () => consumer.close(5_000) };
    },
    roundTrip: async (payload) => {
      const job = producer.createJob(payload);
      const over = new Promise((resolve, reject) => {
        job.on("succeeded", resolve);
        job.on("failed", reject);
      });
      await job.save();
      return over;
    },
    close: () => producer.close(5_000),
  };
}
