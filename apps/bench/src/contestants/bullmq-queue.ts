// BullMQ as a contestant, the same on Redis and on PostgreSQL.
import type { Queue, QueueEvents, Worker } from "bullmq";
import type { OpenQueue, Payload } from "../frame/contestant.ts";

/** How a backend makes BullMQ's three classes, and what is closed after them. */
export interface BullMaker {
  queue(): Queue;
  worker(handle: (job: { readonly data: Payload }) => Promise<unknown>, concurrency: number): Worker;
  events(): QueueEvents;
  close(): Promise<void>;
}

export function openBull(make: BullMaker): OpenQueue {
  const queue = make.queue();
  queue.setMaxListeners(0);
  queue.on("error", console.error);
  let events: QueueEvents | undefined;
  return {
    add: (payload) => queue.add("work", payload),
    addMany: (payloads) => queue.addBulk(payloads.map((data) => ({ name: "work", data }))),
    async work(concurrency, handle) {
      const worker = make.worker(async ({ data }) => handle(data), concurrency);
      worker.on("error", console.error);
      await worker.waitUntilReady();
      return { stop: () => worker.close() };
    },
    async roundTrip(payload) {
      events ??= make.events().setMaxListeners(0);
      await events.waitUntilReady();
      const job = await queue.add("work", payload);
      return job.waitUntilFinished(events);
    },
    waiting: () => queue.getJobCountByTypes("waiting", "active", "delayed", "prioritized"),
    async close() {
      await events?.close();
      await queue.close();
      await make.close();
    },
  };
}
