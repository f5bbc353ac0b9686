// The task queue's rules where SQLite does them its own way: the group's candidate, the order, upkeep, dependencies, keys.
import { afterEach, beforeEach, expect, test } from "vitest";
import { sqliteDriver, type SqliteTaskQueue } from "@omniq/sqlite";
import { complete, enqueue, Folder, ids, reserve, task } from "./harness.ts";

let folder: Folder;
let now: number;
let queue: SqliteTaskQueue;
beforeEach(() => {
  folder = new Folder();
  now = 1_000_000;
  queue = folder.open({ now: () => now }).taskQueue();
});
afterEach(() => folder.remove());

test("order: priority, then time of readiness, then enqueue order; due tasks take their place by runAt", async () => {
  await enqueue(queue, task({ id: "late", delayMs: 10 }));
  now += 5;
  await enqueue(queue, task({ id: "a" }), task({ id: "b" }), task({ id: "high", priority: 5 }));
  now += 50;
  await enqueue(queue, task({ id: "c" }));
  expect(ids(await reserve(queue))).toEqual(["high", "a", "b", "late", "c"]);
});

test("a group of one keeps strict order over retries, and hides no other group", async () => {
  const group = { key: "g", limit: 1 };
  await enqueue(queue, task({ id: "g1", group }), task({ id: "g2", group }), task({ id: "other" }));
  const [first, other] = await reserve(queue);
  expect([first?.taskId, other?.taskId]).toEqual(["g1", "other"]);
  expect((await queue.counts(["q"]))["q"]).toMatchObject({ ready: 1, active: 2 });
  const { outcome: _, ...reference } = complete(first!);
  expect(await queue.settle([{ ...reference, outcome: "retry", delayMs: 100, error: "x" }])).toEqual(["settled"]);
  expect(await reserve(queue)).toEqual([]);
  now += 100;
  const [again] = await reserve(queue);
  expect([again?.taskId, again?.attempt, again?.task.error]).toEqual(["g1", 2, "x"]);
  await queue.settle([complete(again!)]);
  expect(ids(await reserve(queue))).toEqual(["g2"]);
});

test("a group of two starts two, mixed with others in order, and the next best when a slot is free", async () => {
  const group = { key: "g", limit: 2 };
  await enqueue(
    queue,
    task({ id: "1", group }),
    task({ id: "x" }),
    task({ id: "2", group }),
    task({ id: "3", group }),
    task({ id: "4", group, priority: 1 }),
  );
  const leases = await reserve(queue);
  expect(ids(leases)).toEqual(["4", "1", "x"]);
  await queue.settle([complete(leases[0]!)]);
  expect(ids(await reserve(queue))).toEqual(["2"]);
  await queue.cancel(["3"]);
  await queue.settle([complete(leases[1]!)]);
  expect(await reserve(queue)).toEqual([]);
});

test("a lease that ran out is due again, refunded; the third time it is an unrecorded dead letter", async () => {
  await enqueue(queue, task({ id: "a" }));
  for (let round = 1; round <= 3; round++) {
    const [lease] = await reserve(queue, 1, { leaseMs: 100 });
    expect([lease?.taskId, lease?.attempt]).toEqual(["a", 1]);
    now += 101;
    await reserve(queue);
    expect(await queue.settle([complete(lease!)])).toEqual(["lost"]);
    now += 1_001;
  }
  expect(await reserve(queue)).toEqual([]);
  const [outcome] = await queue.unrecorded(10);
  expect(outcome).toMatchObject({ taskId: "a", status: "failed", attempt: 0 });
  expect(JSON.parse(outcome!.error!)).toMatchObject({ code: "OMNIQ_LEASE_LOST" });
  expect(await queue.retry(["a"])).toEqual(["busy"]);
  await queue.record([{ taskId: "a", run: 1 }]);
  expect(await queue.retry(["a"])).toEqual(["retried"]);
  expect((await reserve(queue))[0]).toMatchObject({ run: 2, attempt: 1 });
});

test("a settlement is stored with result and events at once, may be repeated for ten minutes, and ids stay known", async () => {
  const backend = folder.open({ now: () => now });
  await enqueue(queue, task({ id: "a" }));
  const [lease] = await reserve(queue);
  const event = {
    id: "e1",
    at: now,
    type: "completed" as const,
    taskId: "a",
    taskName: "n",
    queue: "q",
    run: 1,
    attempt: 1,
  };
  expect(await queue.settle([{ ...complete(lease!, "out"), events: [event] }])).toEqual(["settled"]);
  expect(await backend.resultStorage().get(["a"])).toMatchObject([
    { status: "completed", value: "out", expiresAt: now + 60_000 },
  ]);
  expect((await backend.eventStorage().query({ taskId: "a" }, {})).items).toHaveLength(1);
  expect(await enqueue(queue, task({ id: "a" }))).toEqual(["duplicate"]);
  now += 60_000;
  expect(await backend.resultStorage().get(["a"])).toEqual([undefined]);
  now += 500_000;
  expect(await queue.settle([complete(lease!)])).toEqual(["settled"]);
  now += 40_000;
  expect(await queue.settle([complete(lease!)])).toEqual(["lost"]);
  expect(await queue.sweep(100)).toBe(0);
  expect(await backend.resultStorage().sweep(100)).toBe(1);
  expect(await enqueue(queue, task({ id: "a" }))).toEqual(["enqueued"]);
});

test("dependents start with the outputs, fail with a failed one, and calls with unknown dependencies store nothing", async () => {
  const after = (taskId: string, onFailure: "fail" | "run" = "fail") => ({ taskId, onFailure });
  const answers = await queue.enqueue([
    { tasks: [task({ id: "lost" }), task({ id: "c0", dependencies: [after("nobody")] })] },
    {
      tasks: [
        task({ id: "c1", dependencies: [after("p1"), after("p2", "run")] }),
        task({ id: "p1" }),
        task({ id: "p2" }),
        task({ id: "c2", dependencies: [after("p2")] }),
      ],
    },
  ]);
  expect(answers.map((answer) => answer.state)).toEqual(["unknown-dependencies", "accepted"]);
  expect(await queue.get(["lost"])).toEqual([undefined]);
  const [p1, p2] = await reserve(queue);
  expect(await queue.settle([complete(p1!, "one"), { ...complete(p2!), outcome: "failed", error: "bad" }])).toEqual([
    "settled",
    "settled",
  ]);
  const [c1] = await reserve(queue);
  expect(c1?.dependencies).toMatchObject([
    { taskId: "p1", value: "one" },
    { taskId: "p2", status: "failed" },
  ]);
  expect((await queue.get(["c2"]))[0]).toMatchObject({ state: "failed", attempt: 0, dependencies: ["p2"] });
  expect(await queue.unrecorded(10)).toMatchObject([{ taskId: "c2", status: "failed" }]);
});

test("keys: keep, replace, extend, windows", async () => {
  const deduplicate = (mode: "keep" | "replace" | "extend", windowMs?: number) => ({ key: "k", mode, windowMs });
  const one = async (given: Parameters<typeof task>[0]) => {
    const [answer] = await queue.enqueue([{ tasks: [task(given)] }]);
    return answer?.state === "accepted" ? answer.receipts[0] : undefined;
  };
  expect(await one({ id: "a", deduplicate: deduplicate("keep") })).toEqual({ id: "a", state: "enqueued" });
  expect(await one({ id: "b", deduplicate: deduplicate("keep") })).toEqual({ id: "a", state: "deduplicated" });
  expect(await one({ id: "c", payload: "new", deduplicate: deduplicate("replace") })).toEqual({
    id: "a",
    state: "replaced",
  });
  expect(await one({ id: "d", delayMs: 10, deduplicate: deduplicate("extend") })).toEqual({
    id: "a",
    state: "extended",
  });
  expect((await queue.get(["a"]))[0]).toMatchObject({ payload: "new", state: "scheduled", runAt: now + 10 });
  now += 10;
  const [lease] = await reserve(queue);
  expect(await one({ id: "e", deduplicate: deduplicate("replace") })).toEqual({ id: "e", state: "enqueued" });
  await queue.settle([complete(lease!)]);
  expect(await one({ id: "f", deduplicate: deduplicate("keep") })).toEqual({ id: "e", state: "deduplicated" });
  expect(await one({ id: "g", deduplicate: deduplicate("replace", 100) })).toEqual({ id: "e", state: "replaced" });
  await queue.settle([complete((await reserve(queue))[0]!)]);
  expect(await one({ id: "h", deduplicate: deduplicate("keep") })).toEqual({ id: "e", state: "deduplicated" });
  now += 100;
  expect(await one({ id: "i", deduplicate: deduplicate("keep") })).toEqual({ id: "i", state: "enqueued" });
});

test("limits: active tasks and the token bucket", async () => {
  await enqueue(queue, ...Array.from({ length: 20 }, () => task()));
  await queue.configureQueue("q", { maxActive: 3 });
  const leases = await reserve(queue);
  expect(leases).toHaveLength(3);
  await queue.settle([complete(leases[0]!)]);
  expect(await reserve(queue)).toHaveLength(1);
  await queue.configureQueue("q", { maxActive: null, rateLimit: { limit: 4, windowMs: 1_000 } });
  expect(await reserve(queue)).toHaveLength(4);
  now += 249;
  expect(await reserve(queue)).toHaveLength(0);
  now += 1;
  expect(await reserve(queue)).toHaveLength(1);
  await queue.pause("q");
  now += 1_000;
  expect(await reserve(queue)).toHaveLength(0);
  await queue.resume("q");
  expect(await reserve(queue)).toHaveLength(4);
});

test("lists page in enqueue order, cursors of other lists are refused, purge and expiry", async () => {
  await enqueue(
    queue,
    ...Array.from({ length: 5 }, (_, index) =>
      task({ id: `l${index}`, ...(index % 2 === 1 ? { delayMs: 60_000 } : { expiresInMs: 50 }) }),
    ),
  );
  const page = await queue.list({ queue: "q" }, { limit: 3 });
  expect(page.items.map((item) => item.id)).toEqual(["l0", "l1", "l2"]);
  const rest = await queue.list({ queue: "q" }, { limit: 3, cursor: page.next });
  expect(rest.items.map((item) => item.id)).toEqual(["l3", "l4"]);
  expect(rest.next).toBeUndefined();
  await expect(queue.list({}, { cursor: page.next })).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  await expect(queue.purge("q", ["active"])).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  now += 50;
  expect(await reserve(queue)).toEqual([]);
  expect((await queue.list({ states: ["expired"] }, {})).items.map((item) => item.id)).toEqual(["l0", "l2", "l4"]);
  expect(await queue.purge("q", ["scheduled", "ready"])).toBe(2);
  await queue.record((await queue.unrecorded(10)).map(({ taskId, run }) => ({ taskId, run })));
  expect(await queue.counts()).toEqual({});
});

test("reserve alone expires what is blocked or scheduled, and retries may have fractions of delays", async () => {
  await enqueue(queue, task({ id: "later", delayMs: 100, expiresAt: now + 50 }), task({ id: "p" }));
  await enqueue(
    queue,
    task({ id: "blocked", expiresAt: now + 50, dependencies: [{ taskId: "p", onFailure: "fail" }] }),
  );
  const [lease] = await reserve(queue);
  const { outcome: _, ...reference } = complete(lease!);
  expect(await queue.settle([{ ...reference, outcome: "retry", delayMs: 1_000.5, error: "x" }])).toEqual(["settled"]);
  expect((await queue.get(["p"]))[0]).toMatchObject({ runAt: now + 1_001 });
  now += 50;
  expect(await reserve(queue)).toEqual([]);
  expect((await queue.unrecorded(10)).map(({ taskId, status }) => [taskId, status])).toEqual([
    ["later", "expired"],
    ["blocked", "expired"],
  ]);
});

test("a delay that is no number, endless, negative or beyond the calendar settles all the same", async () => {
  const delays = [Number.NaN, Infinity, -Infinity, 0 * Infinity, -5, 1e300, Number.MAX_SAFE_INTEGER, 0.5];
  for (const outcome of ["retry", "release"] as const) {
    await enqueue(queue, ...delays.map((_, index) => task({ id: `${outcome}${index}` })));
    const leases = await reserve(queue);
    expect(leases).toHaveLength(delays.length);
    const settlements = leases.map((lease, index) => {
      const { outcome: _, ...reference } = complete(lease);
      return { ...reference, outcome, delayMs: delays[index] as number, error: "e\0" };
    });
    expect(await queue.settle(settlements)).toEqual(delays.map(() => "settled"));
    const found = await queue.get(leases.map((lease) => lease.taskId));
    expect(found.map((one) => one?.state)).toEqual([
      ...["ready", "scheduled", "ready", "ready", "ready", "scheduled", "scheduled", "scheduled"],
    ]);
    for (const one of found) expect(one?.runAt).toBeLessThanOrEqual(8.64e15);
    expect(await queue.remove(leases.map((lease) => lease.taskId))).toEqual(delays.map(() => "removed"));
  }
});

test("a reserve with bounded bytes reads no more than it gives, counts dependencies' values, and goes on over queues", async () => {
  const big = "x".repeat(40_000);
  await enqueue(queue, task({ id: "p" }), task({ id: "c", dependencies: [{ taskId: "p", onFailure: "fail" }] }));
  await queue.settle([complete((await reserve(queue))[0]!, big)]);
  await enqueue(
    queue,
    task({ id: "a", payload: big }),
    task({ id: "b" }),
    task({ id: "other", queue: "r", payload: big }),
  );
  const take = (maxBytes: number) => reserve(queue, 10, { queues: ["q", "r"], maxBytes });
  expect(ids(await take(10))).toEqual(["c"]);
  expect(ids(await take(40_000))).toEqual(["a"]);
  expect(ids(await take(40_000))).toEqual(["b"]);
  expect(ids(await take(40_001))).toEqual(["other"]);
});

test("names of queues that were used once are forgotten; of many queues only those with tasks are looked at", async () => {
  const names = Array.from({ length: 3_000 }, (_, index) => `n${index}`);
  await enqueue(queue, ...names.map((name) => task({ id: name, queue: name })));
  await queue.pause("n7");
  await queue.configureQueue("n8", { deadLetterTtlMs: 5 });
  const stays = ["n5", "n7", "n8"];
  await queue.remove(names.filter((name) => name !== "n5"));
  for (let sweeps = 0; sweeps < 5; sweeps++) await queue.sweep(1_000);
  const raw = new (sqliteDriver())(folder.file);
  expect(raw.prepare("SELECT name FROM omniq_queues ORDER BY name").all()).toEqual(stays.map((name) => ({ name })));
  raw.close();
  expect(ids(await reserve(queue, 10, { queues: names }))).toEqual(["n5"]);
  await enqueue(
    queue,
    task({ id: "late", queue: "n2999", delayMs: 5 }),
    task({ id: "gone", queue: "n3", expiresInMs: 2 }),
  );
  now += 5;
  expect(ids(await reserve(queue, 10, { queues: names }))).toEqual(["late"]);
  expect((await queue.get(["gone"]))[0]?.state).toBe("expired");
});

test("hostile names and texts come back as they were", async () => {
  const names = [
    "__proto__",
    "constructor",
    "'; DROP TABLE omniq_tasks; --",
    "{p}_tasks ?",
    "\u{1F600} é é",
    "%_*",
    "a.b",
  ];
  await enqueue(
    queue,
    ...names.map((id) =>
      task({
        id,
        queue: id,
        name: id,
        payload: `\0${id}\0`,
        group: { key: id, limit: 1 },
        deduplicate: { key: id, mode: "keep" },
      }),
    ),
  );
  const leases = await queue.reserve({ queues: names, limit: 100, leaseMs: 1_000, waitMs: 0, worker: "\0" });
  expect(
    leases.map(({ taskId, task: { queue: lane, name, payload, group } }) => [taskId, lane, name, payload, group?.key]),
  ).toEqual(names.map((id) => [id, id, id, `\0${id}\0`, id]));
  expect(Object.keys(await queue.counts()).sort()).toEqual([...names].sort());
  const page = await queue.list({}, { limit: 4 });
  expect((await queue.list({}, { limit: 4, cursor: page.next })).items.map((item) => item.id)).toEqual(names.slice(4));
});
