// BullMQ on Redis.
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { Contestant } from "../../frame/contestant.ts";
import { openBull } from "../bullmq-queue.ts";

export const contestant: Contestant = {
  name: "BullMQ",
  ours: false,
  packages: ["bullmq", "ioredis"],
  settings: "as it comes",
  durability: "the server's",
  results: "kept with the finished job",
  shared: true,
  open: async ({ url, prefix }) => {
    const connections: Redis[] = [];
    const connection = (): never => {
      const made = new Redis(url, { maxRetriesPerRequest: null });
      connections.push(made);
      return made as never;
    };
    return openBull({
      queue: () => new Queue("work", { connection: connection(), prefix }),
      worker: (handle, concurrency) => new Worker("work", handle, { connection: connection(), prefix, concurrency }),
      events: () => new QueueEvents("work", { connection: connection(), prefix }),
      close: async () => {
        for (const made of connections) made.disconnect();
      },
    });
  },
};
