// graphile-worker as a contestant, plain or with the preset of its own benchmarks.
import { setTimeout as sleep } from "node:timers/promises";
import { Logger, makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";
import type { OpenQueue, Payload } from "../frame/contestant.ts";

/** Says nothing but errors. */
const logger = new Logger(() => (level, message) => {
  if (String(level) === "error") console.error(message);
});

type WorkerPreset = NonNullable<NonNullable<Parameters<typeof run>[0]["preset"]>["worker"]>;

export async function openGraphile(url: string, preset: (concurrency: number) => WorkerPreset): Promise<OpenQueue> {
  const pool = new pg.Pool({ connectionString: url, max: 10 });
  pool.on("error", console.error);
  pool.on("connect", (client) => void client.on("error", console.error));
  await runMigrations({ pgPool: pool, logger });
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  return {
    add: (payload) => utils.addJob("work", { payload }),
    addMany: (payloads) => utils.addJobs(payloads.map((payload) => ({ identifier: "work", payload: { payload } }))),
    async work(concurrency, handle) {
      const runner = await run({
        pgPool: pool,
        logger,
        noHandleSignals: true,
        parsedCronItems: [],
        taskList: {
          work: async (given) => {
            // What a task gives is thrown away here: there are no results.
            await handle((given as { payload: Payload }).payload);
          },
        },
        preset: { worker: preset(concurrency) },
      });
      return { stop: () => runner.stop() };
    },
    async waiting() {
      // Its runner may say that it has stopped shortly before the last completions are stored.
      await sleep(500);
      const { rows } = await pool.query<{ count: string }>("SELECT count(*) FROM graphile_worker.jobs");
      return Number(rows[0]?.count);
    },
    async close() {
      await utils.release();
      await pool.end();
    },
  };
}
