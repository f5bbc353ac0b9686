// `node dist/postgres-backlog.js [LARGE] [DRAINED]`: what reserve + settle cost a task on PostgreSQL with a backlog of ten thousand and of a
// million, and whether vacuum gives back what a drained backlog leaves behind.
import { postgres } from "@omniq/postgres";
import pg from "pg";
import { median, plainTask } from "./measure.ts";
import { drainQueue, serverUrl } from "./postgres-queue.ts";

const large = Number(process.argv[2] ?? 1_000_000);
const drained = Number(process.argv[3] ?? 100_000);
const batch = 200;
const dsn = serverUrl();
const admin = new pg.Client({ connectionString: dsn });
await admin.connect();

async function withSchema<T>(body: (backend: ReturnType<typeof postgres>, schema: string) => Promise<T>): Promise<T> {
  const schema = `omniq_backlog_${process.pid}`;
  const backend = postgres({ dsn, schema });
  try {
    return await body(backend, schema);
  } finally {
    await backend.close();
    await admin.query(`SET client_min_messages = warning; DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  }
}

async function fill(
  queue: ReturnType<ReturnType<typeof postgres>["taskQueue"]>,
  count: number,
  name: string,
): Promise<void> {
  for (let from = 0; from < count; from += 2_000) {
    const length = Math.min(2_000, count - from);
    await queue.enqueue([{ tasks: Array.from({ length }, (_, index) => plainTask(id(name, from + index))) }]);
  }
}
/** Like the ids that core makes, it grows with time. */
function id(name: string, index: number): string {
  return `01a20ca5-1be0-7562-84${name}-${String(index).padStart(12, "0")}`;
}

/** Microseconds a task, medians of calls of {@link batch}. */
async function cost(backlog: number): Promise<number> {
  return withSchema(async (backend) => {
    const queue = backend.taskQueue();
    await fill(queue, backlog, "aa");
    const { perTask } = await drainQueue(queue, Math.min(backlog, 10_000), batch);
    return median(perTask);
  });
}

const ratios: number[] = [];
for (let repeat = 0; repeat < 2; repeat++) {
  const small = await cost(10_000);
  const big = await cost(large);
  ratios.push(big / small);
  console.log(`reserve + settle: ${small.toFixed(1)} µs a task at 10,000, ${big.toFixed(1)} µs at ${large}`);
}
console.log(`ratios ${ratios.map((ratio) => ratio.toFixed(2)).join(", ")} (aim: at most 1.5)`);

await withSchema(async (backend, schema) => {
  const queue = backend.taskQueue();
  const size = async (): Promise<string> => {
    await admin.query("SELECT pg_stat_clear_snapshot()");
    const { rows } = await admin.query<{ live: string; dead: string; bytes: string }>(
      `SELECT n_live_tup AS live, n_dead_tup AS dead, pg_size_pretty(pg_total_relation_size(relid)) AS bytes FROM pg_stat_all_tables
       WHERE schemaname = $1 AND relname = 'tasks'`,
      [schema],
    );
    return `tasks: ${rows[0]?.live} live, ${rows[0]?.dead} dead rows, ${rows[0]?.bytes}`;
  };
  const rates: number[] = [];
  for (const name of ["aa", "bb"]) {
    await fill(queue, drained, name);
    const { perTask, rate } = await drainQueue(queue, drained, batch);
    rates.push(rate);
    console.log(
      `drained ${drained}: ${rate.toFixed(0)}/s, median ${median(perTask).toFixed(1)} µs a task; ${await size()}`,
    );
    await admin.query(`VACUUM ${schema}.tasks`);
    // Statistics reach the view a little later.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    console.log(`after vacuum: ${await size()}`);
  }
  console.log(`second run: ${((rates[1] ?? 0) / (rates[0] ?? 1)).toFixed(2)} times as fast as the first`);
});
await admin.end();
