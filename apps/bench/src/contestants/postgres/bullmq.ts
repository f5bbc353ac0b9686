// BullMQ on PostgreSQL.
import { createPostgresBackend, Queue, QueueEvents, runMigrations, Worker } from "bullmq";
import pg from "pg";
import type { Contestant } from "../../frame/contestant.ts";
import { openBull } from "../bullmq-queue.ts";

export const contestant: Contestant = {
  name: "BullMQ on PostgreSQL",
  ours: false,
  packages: ["bullmq", "pg"],
  settings: "as it comes (pools of 10)",
  durability: "the server's: its tables are logged, and it leaves `synchronous_commit` alone",
  results: "kept with the finished job",
  shared: true,
  async open({ url }) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await runMigrations(client as never);
    await client.end();
    const connection = { connectionString: url };
    return openBull({
      queue: () => new Queue("work", { connection }, createPostgresBackend) as unknown as Queue,
      worker: (handle, concurrency) =>
        new Worker("work", handle, { connection, concurrency }, createPostgresBackend) as unknown as Worker,
      events: () => new QueueEvents("work", { connection }, createPostgresBackend) as unknown as QueueEvents,
      close: async () => {},
    });
  },
};
