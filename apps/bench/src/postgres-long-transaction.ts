// `node dist/postgres-long-transaction.js [SECONDS]`: load on PostgreSQL before, while and after another client holds a transaction open (two
// minutes unless told otherwise). Every task must end once, with one result; rates of each phase are printed.
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { postgres } from "@omniq/postgres";
import pg from "pg";
import { serverUrl } from "./postgres-queue.ts";

const heldMs = Number(process.argv[2] ?? 120) * 1_000;
const quietMs = Math.max(15_000, heldMs / 6);
const backlog = 2_000;
const dsn = serverUrl();
const schema = `omniq_held_${process.pid}`;

const backend = postgres({ dsn, schema });
const omniq = new OmniQ({ taskQueue: backend });
const runs = new Map<number, number>();
let ran = 0;
const work = defineTask({
  name: "work",
  input: typeOnly<{ readonly n: number }>(),
  run: ({ n }) => {
    runs.set(n, (runs.get(n) ?? 0) + 1);
    ran++;
  },
});
const worker = omniq.worker({ tasks: [work], concurrency: 100 });
await worker.start();

let enqueued = 0;
let stopped = false;
const producing = (async () => {
  while (!stopped) {
    if (enqueued - ran > backlog) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      continue;
    }
    const from = enqueued;
    enqueued += 500;
    await omniq.enqueueMany(Array.from({ length: 500 }, (_, index) => work.with({ n: from + index })));
  }
})();

async function phase(name: string, ms: number): Promise<number> {
  const before = ran;
  const started = performance.now();
  let mark = before;
  const parts: string[] = [];
  for (let left = ms; left > 0; left -= 5_000) {
    await new Promise((resolve) => setTimeout(resolve, Math.min(5_000, left)));
    parts.push(((ran - mark) / (Math.min(5_000, left) / 1_000)).toFixed(0));
    mark = ran;
  }
  const rate = (ran - before) / ((performance.now() - started) / 1_000);
  console.log(`${name}: ${rate.toFixed(0)} tasks/s (each 5 s: ${parts.join(", ")})`);
  return rate;
}

await phase("start", 5_000);
const before = await phase("before", quietMs);
const other = new pg.Client({ connectionString: dsn });
await other.connect();
await other.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
// A snapshot and a number of its own: what dies from now on stays.
await other.query("SELECT count(*), pg_current_xact_id() FROM pg_class");
const during = await phase(`while a transaction is open (${heldMs / 1_000} s)`, heldMs);
await other.query("COMMIT");
await other.end();
await phase("the first time after", 15_000);
const after = await phase("after", quietMs);
stopped = true;
await producing;
for (let tries = 0; ran < enqueued && tries < 600; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
await worker.stop();

const client = new pg.Client({ connectionString: dsn });
await client.connect();
const { rows } = await client.query<{ left: string; results: string; other: string }>(
  `SELECT (SELECT count(*) FROM ${schema}.tasks) AS left, count(*) AS results, count(*) FILTER (WHERE status <> 'completed' OR attempt <> 1) AS other
   FROM ${schema}.past WHERE status IS NOT NULL`,
);
const twice = [...runs.values()].filter((times) => times > 1).length;
console.log(
  `${enqueued} enqueued, ${runs.size} ran, ${twice} more than once; left ${rows[0]?.left}, results ${rows[0]?.results}, others than completed at once ${rows[0]?.other}`,
);
console.log(`rates against before: while ${(during / before).toFixed(2)}, after ${(after / before).toFixed(2)}`);
await omniq.close();
await backend.close();
await client.query(`SET client_min_messages = warning; DROP SCHEMA ${schema} CASCADE`);
await client.end();
const good =
  runs.size === enqueued && twice === 0 && Number(rows[0]?.left) === 0 && Number(rows[0]?.results) === enqueued;
if (!good) throw new Error("tasks were lost or ran twice");
