// The shortcuts of the server's functions: what they give is what the long way gives, whatever they meet.
import { setTimeout as sleep } from "node:timers/promises";
import type { Lease, NewTask } from "@omniq/core";
import { expect, test } from "vitest";
import { completed, newSchema, open, task } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const request = { queues: ["q"], limit: 100, leaseMs: 30_000, waitMs: 0, worker: "w" };
const waiting = { ...request, waitMs: 5_000 };
/** Ids that begin alike, as those that are made at one time do. */
const alike = (number: number, given: (index: number) => Partial<NewTask> = () => ({})): NewTask[] =>
  Array.from({ length: number }, (_value, index) => task(`0192aaaa-${index}`, given(index)));
const apart = (number: number): NewTask[] => Array.from({ length: number }, (_value, index) => task(`${index}-apart`));

for (const [what, make] of [
  ["that differ in id only", () => alike(30)],
  ["that differ in more", () => alike(30, (index) => ({ priority: index % 2, name: `n${index}` }))],
  [
    "of which some have a group, a delay, an expiry",
    () =>
      alike(30, (index) =>
        index % 3 === 0
          ? { group: { key: "g", limit: 1 } }
          : index % 3 === 1
            ? { delayMs: 50 }
            : { expiresInMs: 60_000 },
      ),
  ],
  ["whose ids begin differently", () => apart(30)],
  ["of one alone", () => alike(1)],
] as const) {
  test(`a set of tasks ${what}: one that waits and one that is remembered are duplicates, the others are stored`, async () => {
    const queue = open({ dsn, schema: newSchema(), maxConnections: 2 }).taskQueue();
    const all = make();
    const remembered = all.at(-1) as NewTask;
    await queue.enqueue([{ tasks: [task(remembered.id)] }]);
    const [lease] = await queue.reserve(request);
    expect(await queue.settle([completed(lease as Lease)])).toEqual(["settled"]);
    if (all.length > 1) await queue.enqueue([{ tasks: [task((all[3] as NewTask).id, { payload: "first" })] }]);
    const [answer] = await queue.enqueue([{ tasks: all }]);
    expect(answer).toEqual({
      state: "accepted",
      receipts: all.map(({ id }, index) => ({
        id,
        state: id === remembered.id || (all.length > 1 && index === 3) ? "duplicate" : "enqueued",
      })),
    });
    const stored = await queue.get(all.map(({ id }) => id));
    expect(stored.map((one) => one?.payload)).toEqual(
      all.map(({ id }, index) => (id === remembered.id ? undefined : index === 3 ? "first" : "p")),
    );
    // And all of them once more.
    const [again] = await queue.enqueue([{ tasks: all }]);
    expect(again?.state === "accepted" && again.receipts.every(({ state }) => state === "duplicate")).toBe(true);
  });
}

test("of settlements in one batch, one whose result stands already keeps it, the others store theirs, and all are settled", async () => {
  const backend = open({ dsn, schema: newSchema(), maxConnections: 2 });
  const [queue, results] = [backend.taskQueue(), backend.resultStorage()];
  await queue.enqueue([{ tasks: alike(20) }]);
  const leases = await queue.reserve(request);
  expect(leases).toHaveLength(20);
  const { taskId } = leases[4] as Lease;
  const stands = { taskId, run: 1, attempt: 1, name: "n", queue: "q", status: "completed", value: "stands" } as const;
  await results.put([{ ...stands, finishedAt: Date.now(), ttlMs: 60_000 }]);
  expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(leases.map(() => "settled"));
  const values = await results.get(leases.map((lease) => lease.taskId));
  expect(values.map((one) => one?.value)).toEqual(leases.map((lease) => (lease.taskId === taskId ? "stands" : "v")));
  expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(leases.map(() => "settled"));
  expect((await queue.counts(["q"]))["q"]).toMatchObject({ ready: 0, active: 0 });
});

test("many workers that wait, and tasks one by one and in small sets: each task is leased once", async () => {
  const schema = newSchema();
  const producer = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  await producer.counts();
  const backends = Array.from({ length: 6 }, () => open({ dsn, schema, maxConnections: 2 }));
  const stop = new AbortController();
  const leased: string[] = [];
  const consumers = backends.map(async (backend) => {
    const queue = backend.taskQueue();
    while (!stop.signal.aborted) {
      const leases = await queue.reserve({ ...waiting, limit: 20 }, { signal: stop.signal }).catch(() => []);
      for (const lease of leases) leased.push(lease.taskId);
      await queue.settle(leases.map((lease) => completed(lease)));
    }
  });
  let made = 0;
  for (let round = 0; round < 60; round++) {
    const size = 1 + (round % 12);
    await producer.enqueue([{ tasks: Array.from({ length: size }, () => task(`t${made++}`)) }]);
    if (round % 4 === 0) await sleep(8);
  }
  for (let tries = 0; leased.length < made && tries < 500; tries++) await sleep(20);
  stop.abort(new Error("over"));
  await Promise.all(consumers);
  expect(leased.length).toBe(made);
  expect(new Set(leased).size).toBe(made);
  expect((await producer.counts(["q"]))["q"]).toMatchObject({ ready: 0, active: 0 });
});

test("a worker that was woken takes what is urgent first, nothing of a paused queue, and no more than a limit allows", async () => {
  const schema = newSchema();
  const [here, there] = [open({ dsn, schema, maxConnections: 2 }), open({ dsn, schema, maxConnections: 2 })];
  const [queue, worker] = [here.taskQueue(), there.taskQueue()];
  const woken = async (call: () => Promise<unknown>): Promise<readonly Lease[]> => {
    const leases = worker.reserve(waiting);
    await sleep(100);
    await call();
    return leases;
  };
  const ids = (leases: readonly Lease[]): string[] => leases.map((lease) => lease.taskId);
  expect(ids(await woken(() => queue.enqueue([{ tasks: [task("a"), task("b", { priority: 5 })] }])))).toEqual([
    "b",
    "a",
  ]);
  // More than a woken worker takes at once: in order, and the rest right after.
  const many = Array.from({ length: 12 }, (_value, index) => task(`m${String(index).padStart(2, "0")}`));
  const some = await woken(() => queue.enqueue([{ tasks: many }]));
  const rest = await worker.reserve(waiting);
  expect([...ids(some), ...ids(rest)]).toEqual(many.map(({ id }) => id));
  // A payload that is too long to go with others.
  const long = await woken(() => queue.enqueue([{ tasks: [task("long", { payload: "x".repeat(100_000) })] }]));
  expect(long.map(({ task: { payload } }) => payload.length)).toEqual([100_000]);
  expect(
    await woken(() => queue.enqueue([{ tasks: [task("grouped", { group: { key: "g", limit: 1 } })] }])),
  ).toHaveLength(1);
  await queue.configureQueue("q", { maxActive: 17 });
  expect(await woken(() => queue.enqueue([{ tasks: [task("c"), task("d")] }]))).toHaveLength(1);
  await queue.configureQueue("q", { maxActive: null });
  await queue.pause("q");
  const none = worker.reserve({ ...waiting, waitMs: 600 });
  await sleep(100);
  await queue.enqueue([{ tasks: [task("e")] }]);
  expect(await none).toEqual([]);
  expect(ids(await woken(() => queue.resume("q")))).toEqual(["d", "e"]);
});

test("of tasks that are enqueued at once, what is urgent is leased first, however the claim falls in between", async () => {
  const schema = newSchema();
  const [here, there] = [open({ dsn, schema, maxConnections: 2 }), open({ dsn, schema, maxConnections: 2 })];
  const [queue, worker] = [here.taskQueue(), there.taskQueue()];
  await queue.counts();
  const sets = 400;
  const leased: string[] = [];
  const consumer = (async () => {
    while (leased.length < sets * 2) {
      // Now one that waits and is woken, now one that looks at once.
      const waitMs = leased.length % 3 === 0 ? 0 : 2_000;
      const leases = await worker.reserve({ ...waiting, waitMs, limit: 1 + (leased.length % 2) });
      for (const lease of leases) leased.push(lease.taskId);
      await worker.settle(leases.map((lease) => completed(lease)));
    }
  })();
  for (let set = 0; set < sets; set++) {
    await queue.enqueue([{ tasks: [task(`${set}-calm`), task(`${set}-urgent`, { priority: 5 })] }]);
    for (let tries = 0; leased.length < set * 2 && tries < 200; tries++) await sleep(1);
  }
  await consumer;
  const places = new Map(leased.map((id, place) => [id, place] as const));
  const wrong = Array.from({ length: sets }, (_value, set) => set).filter(
    (set) => (places.get(`${set}-urgent`) ?? Infinity) > (places.get(`${set}-calm`) ?? -Infinity),
  );
  expect(wrong).toEqual([]);
});

test("a worker waits on when the connection that listens is ended just as it claims", async () => {
  const schema = newSchema();
  const [here, there] = [open({ dsn, schema, maxConnections: 2 }), open({ dsn, schema, maxConnections: 2 })];
  const [queue, worker] = [here.taskQueue(), there.taskQueue()];
  await queue.counts();
  const leased: string[] = [];
  const stop = new AbortController();
  const consumer = (async () => {
    while (!stop.signal.aborted) {
      const leases = await worker.reserve(waiting, { signal: stop.signal }).catch(() => []);
      for (const lease of leases) leased.push(lease.taskId);
      await worker.settle(leases.map((lease) => completed(lease))).catch(() => []);
    }
  })();
  await sleep(200);
  await connected(async (client) => {
    for (let round = 0; round < 12; round++) {
      const enqueued = queue.enqueue([{ tasks: [task(`t${round}`)] }]);
      // Whoever listens in this database now; others of this test's server listen anew, as this one does.
      await client.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1 AND pid <> pg_backend_pid()",
        [`%"${schema}".reserve_few(%`],
      );
      await enqueued;
      await sleep(30);
    }
  });
  for (let tries = 0; new Set(leased).size < 12 && tries < 1_000; tries++) await sleep(20);
  stop.abort(new Error("over"));
  await consumer;
  expect(new Set(leased).size).toBe(12);
}, 60_000);
