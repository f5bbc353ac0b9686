// pg-boss, tasks fetched in batches.
import { setTimeout as sleep } from "node:timers/promises";
import PgBoss from "pg-boss";
import type { Contestant, Payload } from "../../frame/contestant.ts";

/** The shortest interval that its own `work` takes. */
const pollMs = 500;

export const contestant: Contestant = {
  name: "pg-boss",
  ours: false,
  packages: ["pg-boss", "pg"],
  settings:
    "fetch of as many as the concurrency, then complete, in a loop (its `work` waits between batches); asks every 0.5 s when idle, the least it allows; no upkeep while measured",
  durability: "the server's",
  results: "none here; finished tasks are kept",
  shared: true,
  async open({ url }) {
    const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false });
    boss.on("error", console.error);
    await boss.start();
    await boss.createQueue("work");
    return {
      add: (payload) => boss.send("work", { payload }),
      addMany: (payloads) => boss.insert(payloads.map((payload) => ({ name: "work", data: { payload } }))),
      async work(concurrency, handle) {
        const idle = new AbortController();
        const loop = async (): Promise<void> => {
          while (!idle.signal.aborted) {
            const jobs = await boss.fetch<{ payload: Payload }>("work", { batchSize: concurrency });
            if (jobs.length === 0) {
              await sleep(pollMs, undefined, { signal: idle.signal }).catch(() => undefined);
              continue;
            }
            await Promise.all(jobs.map(async (job) => handle(job.data.payload)));
            await boss.complete(
              "work",
              jobs.map(({ id }) => id),
            );
          }
        };
        const over = loop();
        return {
          stop: async () => {
            idle.abort();
            await over;
          },
        };
      },
      waiting: () => boss.getQueueSize("work", { before: "completed" }),
      close: () => boss.stop({ graceful: false, close: true }),
    };
  },
};
