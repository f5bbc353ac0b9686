// Leases that one row covers for a whole claim: what becomes of them when tasks are settled, extended, cancelled, moved or left alone.
import { setTimeout as sleep } from "node:timers/promises";
import type { Lease, NewTask, Settlement } from "@omniq/core";
import { expect, test } from "vitest";
import { completed, newSchema, open, task } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const tasks = (number: number): NewTask[] => Array.from({ length: number }, (_value, index) => task(`t${index}`));
const request = { queues: ["q"], limit: 100, leaseMs: 30_000, waitMs: 0, worker: "w" };
const rows = (text: string): Promise<readonly unknown[][]> =>
  connected(async (client) => (await client.query({ text, rowMode: "array" })).rows as unknown[][]);

test("one claim is one row, which goes with the claim after its last task was settled", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  await queue.enqueue([{ tasks: tasks(5) }]);
  const leases = await queue.reserve(request);
  expect(await rows(`SELECT cardinality(seqs) FROM ${schema}.leases`)).toEqual([[5]]);
  expect((await queue.counts(["q"]))["q"]).toMatchObject({ ready: 0, active: 5 });
  await queue.settle(leases.slice(0, 3).map((lease) => completed(lease)));
  await queue.reserve(request);
  expect(await rows(`SELECT cardinality(seqs) FROM ${schema}.leases`)).toHaveLength(1);
  // Sent again, the same settlements count once.
  await queue.settle(leases.slice(0, 3).map((lease) => completed(lease)));
  await queue.reserve(request);
  expect(await rows(`SELECT 1 FROM ${schema}.leases`)).toHaveLength(1);
  expect((await queue.list({ states: ["active"] }, {})).items.map(({ id, attempt }) => [id, attempt])).toEqual([
    ["t3", 1],
    ["t4", 1],
  ]);
  await queue.settle(leases.slice(3).map((lease) => completed(lease)));
  expect(await queue.reserve(request)).toEqual([]);
  expect(await rows(`SELECT 1 FROM ${schema}.leases`)).toEqual([]);
});

test("a heartbeat gives a task a lease of its own, and it is settled by its id", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  await queue.enqueue([{ tasks: tasks(3) }]);
  const leases = await queue.reserve(request);
  const [first] = leases as [Lease];
  expect(await queue.extend([{ ...first, progress: "half" }], 60_000)).toMatchObject([{ state: "held" }]);
  expect(await rows(`SELECT id, state, attempt FROM ${schema}.tasks WHERE apart`)).toEqual([["t0", 4, 1]]);
  expect(await rows(`SELECT cardinality(seqs) FROM ${schema}.leases`)).toEqual([[2]]);
  expect((await queue.get(["t0"]))[0]).toMatchObject({ state: "active", attempt: 1, progress: "half" });
  expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(["settled", "settled", "settled"]);
  expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(["settled", "settled", "settled"]);
  expect(await rows(`SELECT task_id, attempt, value FROM ${schema}.past ORDER BY 1`)).toEqual(
    ["t0", "t1", "t2"].map((id) => [id, 1, "v"]),
  );
});

test("rows that a rewrite of the table moved are settled by their ids", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  await queue.enqueue([{ tasks: tasks(20) }]);
  const gone = await queue.reserve({ ...request, limit: 10 });
  const kept = await queue.reserve({ ...request, limit: 10 });
  await queue.settle(gone.map((lease) => completed(lease)));
  await connected((client) => client.query(`VACUUM FULL ${schema}.tasks`));
  // Places of the first ten may be those of others now.
  expect(await queue.settle(gone.map((lease) => ({ ...completed(lease), outcome: "cancelled" })))).toEqual(
    gone.map(() => "lost"),
  );
  expect(await queue.settle(kept.map((lease) => completed(lease)))).toEqual(kept.map(() => "settled"));
  expect(await rows(`SELECT status, count(*)::int FROM ${schema}.past GROUP BY 1`)).toEqual([["completed", 20]]);
});

test("of a claim whose lease ran out, what was settled stays so, and the rest comes again once", async () => {
  const schema = newSchema();
  const [one, other] = [
    open({ dsn, schema, maxConnections: 2 }).taskQueue(),
    open({ dsn, schema, maxConnections: 2 }).taskQueue(),
  ];
  await one.enqueue([{ tasks: tasks(6) }]);
  const leases = await one.reserve({ ...request, leaseMs: 300 });
  expect(await one.settle(leases.slice(0, 2).map((lease) => completed(lease)))).toEqual(["settled", "settled"]);
  await sleep(350);
  const again: Lease[] = [];
  for (let tries = 0; again.length < 4 && tries < 200; tries++) {
    again.push(...(await other.reserve(request)));
    await sleep(20);
  }
  expect(again.map(({ taskId, attempt, task: { expiries } }) => [taskId, attempt, expiries]).toSorted()).toEqual(
    ["t2", "t3", "t4", "t5"].map((id) => [id, 1, 1]),
  );
  expect(await one.settle(leases.map((lease) => completed(lease)))).toEqual([
    "settled",
    "settled",
    "lost",
    "lost",
    "lost",
    "lost",
  ]);
  expect(await other.settle(again.map((lease) => completed(lease)))).toEqual(again.map(() => "settled"));
});

test("one task of a claim is retried, one released, one cancelled: the others keep their lease", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  await queue.enqueue([{ tasks: tasks(5) }]);
  const leases = await queue.reserve(request);
  const [a, b, c, d, e] = leases.map((lease) => completed(lease)) as [
    Settlement,
    Settlement,
    Settlement,
    Settlement,
    Settlement,
  ];
  expect(
    await queue.settle([
      { ...a, outcome: "retry", delayMs: 0, error: "e" } as Settlement,
      { ...b, outcome: "release" } as Settlement,
    ]),
  ).toEqual(["settled", "settled"]);
  expect(await queue.cancel(["t2"])).toEqual(["cancelling"]);
  expect(await queue.remove(["t3", "t2"])).toEqual(["busy", "busy"]);
  expect(await queue.purge("q", ["ready"])).toBe(2);
  expect((await queue.get(["t2", "t3", "t4"])).map((one) => [one?.state, one?.cancelling])).toEqual([
    ["active", true],
    ["active", false],
    ["active", false],
  ]);
  expect(await queue.settle([c, d, e])).toEqual(["settled", "settled", "settled"]);
  expect((await queue.counts(["q"]))["q"]).toMatchObject({ ready: 0, active: 0 });
});

test("claims that all begin at the head of the queue never take a task twice", async () => {
  const schema = newSchema();
  const number = 1_500;
  const makers = Array.from({ length: 6 }, () => open({ dsn, schema, maxConnections: 2 }));
  await makers[0]?.taskQueue().enqueue([{ tasks: tasks(number) }]);
  const seen: string[] = [];
  await Promise.all(
    makers.map(async (backend) => {
      for (;;) {
        // A component of its own remembers no place.
        const leases = await backend.taskQueue().reserve({ ...request, limit: 7 });
        if (leases.length === 0 && seen.length >= number) return;
        seen.push(...leases.map((lease) => lease.taskId));
      }
    }),
  );
  expect(new Set(seen).size).toBe(number);
  expect(seen).toHaveLength(number);
});
