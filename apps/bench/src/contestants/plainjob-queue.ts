// plainjob as a contestant. It sets `synchronous` to normal itself; full is set after it.
import { join } from "node:path";
import { better, defineQueue, defineWorker, JobStatus } from "plainjob";
import { sqliteDriver } from "@omniq/sqlite";
import type { OpenQueue, Payload } from "../frame/contestant.ts";

const logger = { error: console.error, warn: console.warn, info: () => {}, debug: () => {} };

export function openPlainjob(folder: string, synchronous: "full" | "normal"): OpenQueue {
  const database = new (sqliteDriver())(join(folder, "plainjob.db"));
  const queue = defineQueue({ connection: better(database as never), logger });
  database.pragma(`synchronous = ${synchronous}`);
  return {
    add: async (payload) => queue.add("work", payload),
    addMany: async (payloads) => queue.addMany("work", [...payloads]),
    async work(concurrency, handle) {
      const workers = Array.from({ length: concurrency }, () =>
        defineWorker("work", async ({ data }) => void (await handle(JSON.parse(data) as Payload)), { queue, logger }),
      );
      const running = workers.map((worker) => worker.start());
      return {
        stop: async () => {
          await Promise.all(workers.map((worker) => worker.stop()));
          await Promise.all(running);
        },
      };
    },
    waiting: async () =>
      queue.countJobs({ status: JobStatus.Pending }) + queue.countJobs({ status: JobStatus.Processing }),
    close: async () => queue.close(),
  };
}
