// `node dist/postgres.js [tasks] [rounds]`: OmniQ beside graphile-worker and pg-boss on one PostgreSQL server, in turn, results stored by OmniQ only
// where the peers keep a finished row too. Prints rates and the ratio to the best peer, medians of the rounds (default three).
import { makeWorkerUtils, run, runMigrations, type Runner } from "graphile-worker";
import pg from "pg";
import PgBoss from "pg-boss";
import { defineTask, OmniQ } from "@omniq/core";
import { postgres } from "@omniq/postgres";
import { median } from "./measure.ts";
import { quietLogger } from "./quiet-logger.ts";

const connectionString = process.env["OMNIQ_TEST_POSTGRES_URL"] ?? "postgresql://postgres@127.0.0.1:5432/postgres";
const schema = `omniq_bench_${process.pid}`;
const count = Number(process.argv[2] ?? 5_000);
const rounds = Number(process.argv[3] ?? 3);
const concurrencies = [1, 10, 100] as const;

/** What each contestant can do. `enqueue` takes the number of tasks; `drain` works on as many until all are done. */
interface Contestant {
  readonly name: string;
  open(): Promise<void>;
  one(): Promise<unknown>;
  bulk(count: number): Promise<unknown>;
  drain(count: number, concurrency: number): Promise<void>;
  close(): Promise<void>;
}

async function drop(name: string): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(`SET client_min_messages = warning; DROP SCHEMA IF EXISTS ${name} CASCADE`);
  await client.end();
}

/** Resolves at the `count`-th call of `tick`. */
function counter(count: number): { readonly tick: () => void; readonly done: Promise<void> } {
  let left = count;
  let resolve!: () => void;
  const done = new Promise<void>((all) => (resolve = all));
  return { tick: () => void (--left === 0 && resolve()), done };
}

function omniqContestant(): Contestant {
  let tick = (): void => {};
  const work = defineTask({ name: "work", run: () => tick() });
  let omniq: OmniQ;
  let backend: ReturnType<typeof postgres>;
  return {
    name: "OmniQ",
    async open() {
      backend = postgres({ dsn: connectionString, schema });
      await backend.check();
      omniq = new OmniQ({ taskQueue: backend });
    },
    one: () => omniq.enqueue(work),
    bulk: (n) => omniq.enqueueMany(Array.from({ length: n }, () => work.with())),
    async drain(n, concurrency) {
      const counted = counter(n);
      tick = counted.tick;
      await omniq.worker({ tasks: [work], concurrency }).drain();
      await counted.done;
    },
    async close() {
      await omniq.close();
      await backend.close();
      await drop(schema);
    },
  };
}

function graphileContestant(): Contestant {
  const own = `${schema}_graphile`;
  let pool: pg.Pool;
  let utils: Awaited<ReturnType<typeof makeWorkerUtils>>;
  return {
    name: "graphile-worker",
    async open() {
      pool = new pg.Pool({ connectionString, max: 10 });
      pool.on("error", console.error);
      pool.on("connect", (client) => void client.on("error", console.error));
      await runMigrations({ pgPool: pool, schema: own, logger: quietLogger });
      utils = await makeWorkerUtils({ pgPool: pool, schema: own, logger: quietLogger });
    },
    one: () => utils.addJob("work", { n: 1 }),
    bulk: (n) => utils.addJobs(Array.from({ length: n }, () => ({ identifier: "work", payload: { n: 1 } }))),
    async drain(n, concurrency) {
      const { tick, done } = counter(n);
      const runner: Runner = await run({
        pgPool: pool,
        schema: own,
        logger: quietLogger,
        noHandleSignals: true,
        parsedCronItems: [],
        taskList: { work: () => tick() },
        preset: {
          // The batched preset of its own benchmarks.
          worker: {
            concurrentJobs: concurrency,
            localQueue: { size: Math.max(concurrency * 5, 100) },
            completeJobBatchDelay: 0,
            failJobBatchDelay: 0,
            pollInterval: 200,
          },
        },
      });
      await done;
      await runner.stop();
    },
    async close() {
      await utils.release();
      await pool.end();
      await drop(own);
    },
  };
}

function bossContestant(): Contestant {
  const own = `${schema}_boss`;
  let boss: PgBoss;
  return {
    name: "pg-boss",
    async open() {
      boss = new PgBoss({ connectionString, schema: own, supervise: false, schedule: false });
      boss.on("error", console.error);
      await boss.start();
      await boss.createQueue("work");
    },
    one: () => boss.send("work", { n: 1 }),
    bulk: (n) => boss.insert(Array.from({ length: n }, () => ({ name: "work", data: { n: 1 } }))),
    // Its `work` waits between batches; fetching in a loop is its fastest way.
    async drain(n, concurrency) {
      for (let left = n; left > 0;) {
        const jobs = await boss.fetch("work", { batchSize: concurrency });
        if (jobs.length === 0) continue;
        await boss.complete(
          "work",
          jobs.map((job) => job.id),
        );
        left -= jobs.length;
      }
    },
    async close() {
      await boss.stop({ graceful: false, close: true });
      await drop(own);
    },
  };
}

const contestants = [omniqContestant(), graphileContestant(), bossContestant()];
const rates = new Map<string, Map<string, number[]>>();
async function timed(measure: string, name: string, tasks: number, body: () => Promise<unknown>): Promise<void> {
  const started = performance.now();
  await body();
  const byName = rates.get(measure) ?? new Map<string, number[]>();
  rates.set(measure, byName);
  const rate = tasks / ((performance.now() - started) / 1_000);
  byName.set(name, [...(byName.get(name) ?? []), rate]);
  console.error(`${measure}: ${name} ${rate.toFixed(0)}/s`);
}

for (const contestant of contestants) await contestant.open();
for (let round = 0; round < rounds; round++) {
  for (const { name, one, bulk, drain } of contestants) {
    const single = Math.ceil(count / 25);
    await timed("enqueue, one by one", name, single, async () => {
      for (let index = 0; index < single; index++) await one();
    });
    const parallel = Math.ceil(count / 100);
    await timed("enqueue, 100 callers", name, parallel * 100, () =>
      Promise.all(
        Array.from({ length: 100 }, async () => {
          for (let index = 0; index < parallel; index++) await one();
        }),
      ),
    );
    await drain(single + parallel * 100, 100);
    for (const concurrency of concurrencies) {
      const tasks = concurrency === 1 && name === "pg-boss" ? Math.ceil(count / 10) : count;
      await timed("enqueue, bulk of 1,000", name, Math.ceil(tasks / 1_000) * 1_000, async () => {
        for (let from = 0; from < tasks; from += 1_000) await bulk(1_000);
      });
      const all = Math.ceil(tasks / 1_000) * 1_000;
      await timed(`drain at concurrency ${concurrency}`, name, all, () => drain(all, concurrency));
    }
  }
}
for (const contestant of contestants) await contestant.close();

for (const [measure, byName] of rates) {
  const medians = [...byName].map(([name, values]) => [name, median(values)] as const);
  const ours = medians.find(([name]) => name === "OmniQ")?.[1] ?? Number.NaN;
  const best = Math.max(...medians.filter(([name]) => name !== "OmniQ").map(([, rate]) => rate));
  const shown = medians.map(([name, rate]) => `${name} ${rate.toFixed(0)}/s`).join(", ");
  console.log(`${measure}: ${shown}; ${(ours / best).toFixed(1)} times the best peer`);
}
