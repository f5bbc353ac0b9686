// Cases of control: cancelling, pausing and looking.
import assert from "node:assert/strict";
import type { StoredTask, TaskFilter, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves, rejects } from "./bench.ts";

const cancelling: readonly Case<TaskQueue>[] = [
  proves(
    "cancel",
    "the worker of a running task is told when it extends, and its outcome still stands",
    async (bench) => {
      const id = await bench.add();
      const lease = await bench.takeOne();
      assert.equal((await bench.extend(lease, 60_000)).state, "held");
      assert.equal(await bench.cancel(id), "cancelling");
      const state = await bench.extend(lease, 60_000);
      assert.ok(state.state === "cancelling" && state.deadline > 0);
      await bench.complete(lease);
      assert.equal(await bench.state(id), "gone");
      assert.deepEqual(await bench.queue.unrecorded(10), []);
    },
  ),
  proves("cancel", "a worker on another connection is told", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    assert.deepEqual(await other.cancel([id]), ["cancelling"]);
    assert.equal((await bench.extend(lease, 60_000)).state, "cancelling");
  }),
  proves("cancel", "a retry of a task whose cancel was asked for makes it cancelled, unrecorded", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.retryLater(lease, 0);
    assert.equal(await bench.state(id), "cancelled");
    const outcome = await bench.outcome(id);
    assert.deepEqual([outcome.status, outcome.attempt], ["cancelled", 1]);
    await bench.none();
  }),
  proves("cancel", "a retry at maxAttempts with a cancel asked for is cancelled, not a dead letter", async (bench) => {
    const id = await bench.add({ maxAttempts: 1 });
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.retryLater(lease, 0);
    assert.equal((await bench.outcome(id)).status, "cancelled");
  }),
  proves("cancel", "a failure with a cancel asked for stands", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.fail(lease, "the error");
    assert.deepEqual([(await bench.get(id)).state, (await bench.get(id)).error], ["failed", "the error"]);
  }),
  proves("cancel", "a worker can settle as cancelled, and the task leaves the queue", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.settleCancelled(lease);
    assert.equal(await bench.state(id), "gone");
    assert.deepEqual(await bench.queue.unrecorded(10), []);
  }),
  proves("cancel", "many at once are answered in the order asked, whatever their states", async (bench) => {
    const active = await bench.add();
    await bench.takeOne();
    const scheduled = await bench.add({ delayMs: 60_000 });
    const ready = await bench.add();
    assert.deepEqual(await bench.queue.cancel([ready, "nobody", active, scheduled]), [
      "cancelled",
      "unknown",
      "cancelling",
      "cancelled",
    ]);
  }),
  proves("cancel", "a cancel that races with reserve is either in time or tells the worker", async (bench) => {
    for (let round = 0; round < 10; round++) {
      const id = await bench.add();
      const [answer, leases] = await Promise.all([bench.cancel(id), bench.take(1, { leaseMs: 60_000 })]);
      assert.equal(answer, leases.length === 1 ? "cancelling" : "cancelled");
    }
  }),
  proves("cancel", "a task of a paused queue is cancelled at once", async (bench) => {
    await bench.queue.pause("main");
    const id = await bench.add();
    assert.equal(await bench.cancel(id), "cancelled");
  }),
];

const pausing: readonly Case<TaskQueue>[] = [
  proves("pause", "a paused queue accepts tasks and gives none until it is resumed", async (bench) => {
    await bench.queue.pause("main");
    const ids = [await bench.add(), await bench.add()];
    await bench.none();
    assert.deepEqual(await bench.counts(), {
      blocked: 0,
      scheduled: 0,
      ready: 2,
      active: 0,
      failed: 0,
      unrecorded: 0,
      paused: true,
    });
    await bench.queue.resume("main");
    assert.deepEqual(await bench.takenIds(10), ids);
  }),
  proves("pause", "other queues go on, and every connection sees the pause", async (bench) => {
    await bench.queue.pause("main");
    await bench.add();
    const id = await bench.add({ queue: "other" });
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const leases = await other.reserve({
      queues: ["main", "other"],
      limit: 10,
      leaseMs: 60_000,
      waitMs: 0,
      worker: "w",
    });
    assert.deepEqual(
      leases.map((lease) => lease.taskId),
      [id],
    );
  }),
  proves("pause", "leases given before the pause can be extended and settled", async (bench) => {
    await bench.add();
    const lease = await bench.takeOne();
    await bench.queue.pause("main");
    assert.equal((await bench.extend(lease, 60_000)).state, "held");
    await bench.complete(lease);
  }),
  proves(
    "pause",
    "a task that comes due, is retried or is released in a paused queue waits for resume",
    async (bench) => {
      const ids = [await bench.add(), await bench.add(), await bench.add({ delayMs: 20 })];
      const [one, two] = await bench.take(2, { leaseMs: 60_000 });
      assert.ok(one && two);
      await bench.queue.pause("main");
      await bench.retryLater(one, 0);
      await bench.release(two);
      await bench.pass(20 + marginMs);
      await bench.none();
      await bench.queue.resume("main");
      assert.deepEqual([...(await bench.takenIds(10))].sort(), [...ids].sort());
    },
  ),
  proves("pause", "resuming a queue that is not paused changes nothing", async (bench) => {
    await bench.queue.resume("main");
    assert.equal((await bench.counts()).paused, false);
  }),
];

/** All pages of a list. */
async function pages(bench: Bench, filter: TaskFilter, limit: number): Promise<readonly (readonly string[])[]> {
  const all: string[][] = [];
  let cursor: string | undefined;
  do {
    const page = await bench.queue.list(filter, { limit, cursor });
    all.push(page.items.map((task) => task.id));
    cursor = page.next;
    assert.ok(all.length < 100, "the list ends");
  } while (cursor !== undefined);
  return all;
}

const looking: readonly Case<TaskQueue>[] = [
  proves("inspect", "get shows a task as it was stored", async (bench) => {
    const task = bench.task({
      payload: "p",
      envelope: "e",
      priority: -3,
      maxAttempts: 7,
      resultTtlMs: 0,
      name: "other",
      queue: "q",
    });
    await bench.receipt(task);
    const stored = await bench.get(task.id);
    const { enqueuedAt, runAt, ...rest } = stored;
    const plain = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
    assert.deepEqual(plain, {
      id: task.id,
      name: "other",
      queue: "q",
      payload: "p",
      envelope: "e",
      priority: -3,
      maxAttempts: 7,
      resultTtlMs: 0,
      state: "ready",
      run: 1,
      attempt: 0,
      expiries: 0,
      cancelling: false,
    } satisfies Partial<StoredTask>);
    assert.equal(enqueuedAt, runAt);
  }),
  proves("inspect", "get answers in the order asked, twice for an id asked twice", async (bench) => {
    const [a, b] = [await bench.add(), await bench.add()];
    assert.deepEqual(
      (await bench.queue.get([b, a, "nobody", b])).map((task) => task?.id),
      [b, a, undefined, b],
    );
  }),
  proves("inspect", "list is in enqueue order, whatever the priority and the time", async (bench) => {
    const ids = [
      await bench.add({ delayMs: 60_000 }),
      await bench.add({ priority: 5 }),
      await bench.add(),
      await bench.add({ priority: 9 }),
    ];
    await bench.takeOne();
    assert.deepEqual(
      (await bench.queue.list({}, {})).items.map((task) => task.id),
      ids,
    );
  }),
  ...[1, 2, 3, 7, 100].map((limit) =>
    proves("inspect", `pages of ${limit} list each task once, in order`, async (bench) => {
      const tasks = Array.from({ length: 7 }, () => bench.task());
      await bench.receipts(tasks);
      const all = await pages(bench, { queue: "main" }, limit);
      assert.deepEqual(
        all.flat(),
        tasks.map((task) => task.id),
      );
      assert.ok(all.every((page) => page.length <= limit));
    }),
  ),
  proves("inspect", "without a limit a page has at most 100", async (bench) => {
    await bench.receipts(Array.from({ length: 130 }, () => bench.task()));
    const page = await bench.queue.list({}, {});
    assert.equal(page.items.length, 100);
    assert.equal((await bench.queue.list({}, { cursor: page.next })).items.length, 30);
    assert.equal((await bench.queue.list({}, { limit: 1_000 })).items.length, 130);
  }),
  proves("inspect", "pages are stable while tasks come, go and change", async (bench) => {
    const ids = [];
    for (let index = 0; index < 6; index++) ids.push(await bench.add());
    const first = await bench.queue.list({}, { limit: 3 });
    assert.deepEqual(
      first.items.map((task) => task.id),
      ids.slice(0, 3),
    );
    await bench.complete(await bench.takeOne());
    await bench.retryLater(await bench.takeOne(), 60_000);
    await bench.remove(ids[3] as string);
    const added = await bench.add({ priority: 10 });
    const second = await bench.queue.list({}, { limit: 10, cursor: first.next });
    assert.deepEqual(
      second.items.map((task) => task.id),
      [ids[4], ids[5], added],
    );
  }),
  proves("inspect", "list filters by queue, name and states, and by all of them", async (bench) => {
    const a = await bench.add({ name: "a" });
    const b = await bench.add({ name: "b", delayMs: 60_000 });
    const c = await bench.add({ name: "a", queue: "other" });
    const ids = async (filter: TaskFilter): Promise<readonly string[]> => (await pages(bench, filter, 2)).flat();
    assert.deepEqual(await ids({}), [a, b, c]);
    assert.deepEqual(await ids({ queue: "main" }), [a, b]);
    assert.deepEqual(await ids({ name: "a" }), [a, c]);
    assert.deepEqual(await ids({ states: ["scheduled"] }), [b]);
    assert.deepEqual(await ids({ states: ["scheduled", "ready"] }), [a, b, c]);
    assert.deepEqual(await ids({ queue: "main", name: "a", states: ["ready"] }), [a]);
    assert.deepEqual(await ids({ queue: "nowhere" }), []);
  }),
  proves("inspect", "filtered pages list each task once", async (bench) => {
    const wanted = [];
    for (let index = 0; index < 12; index++) {
      const id = await bench.add({ name: index % 3 === 0 ? "wanted" : "other" });
      if (index % 3 === 0) wanted.push(id);
    }
    assert.deepEqual((await pages(bench, { name: "wanted" }, 1)).flat(), wanted);
  }),
  proves("inspect", "a cursor that is none of this list's is refused with OMNIQ_INVALID_OPTION", async (bench) => {
    await bench.add();
    for (const cursor of ["not a cursor", "{}", "-1", "'; --"]) {
      await rejects(() => bench.queue.list({ queue: "main" }, { limit: 1, cursor }), "OMNIQ_INVALID_OPTION");
    }
  }),
  proves("inspect", "a cursor of a list with another filter is refused with OMNIQ_INVALID_OPTION", async (bench) => {
    for (let index = 0; index < 3; index++) await bench.add();
    const { next } = await bench.queue.list({ queue: "main" }, { limit: 1 });
    assert.ok(next !== undefined);
    const others: readonly TaskFilter[] = [
      {},
      { queue: "other" },
      { name: "main" },
      { queue: "main", states: ["ready"] },
    ];
    for (const filter of others)
      await rejects(() => bench.queue.list(filter, { limit: 1, cursor: next }), "OMNIQ_INVALID_OPTION");
    assert.equal((await bench.queue.list({ queue: "main" }, { limit: 2, cursor: next })).items.length, 2);
  }),
  ...[0, -1, 1_001, 1.5].map((limit) =>
    proves("inspect", `a page's limit of ${limit} is refused with OMNIQ_INVALID_OPTION`, async (bench) => {
      await rejects(() => bench.queue.list({}, { limit }), "OMNIQ_INVALID_OPTION");
    }),
  ),
  proves("inspect", "counts are exact through a task's life", async (bench) => {
    const zero = { blocked: 0, scheduled: 0, ready: 0, active: 0, failed: 0, unrecorded: 0, paused: false };
    assert.deepEqual(await bench.counts(), zero);
    const id = await bench.add({ maxAttempts: 2 });
    assert.deepEqual(await bench.counts(), { ...zero, ready: 1 });
    await bench.retryLater(await bench.takeOne(), 60_000);
    assert.deepEqual(await bench.counts(), { ...zero, scheduled: 1 });
    await bench.remove(id);
    assert.deepEqual(await bench.counts(), zero);
  }),
  proves("inspect", "counts are exact for many tasks of one queue in many states", async (bench) => {
    await bench.receipts([
      ...Array.from({ length: 5 }, () => bench.task()),
      ...Array.from({ length: 4 }, () => bench.task({ delayMs: 60_000 })),
    ]);
    const leases = await bench.take(3, { leaseMs: 60_000 });
    await bench.fail(leases[0]!);
    const waiting = await bench.add();
    await bench.cancel(waiting);
    assert.deepEqual(await bench.counts(), {
      blocked: 0,
      scheduled: 4,
      ready: 2,
      active: 2,
      failed: 1,
      unrecorded: 1,
      paused: false,
    });
  }),
  proves("inspect", "counts without names are of all queues that have tasks, settings or a pause", async (bench) => {
    await bench.add({ queue: "with tasks" });
    await bench.queue.pause("paused");
    await bench.queue.configureQueue("with settings", { deadLetterTtlMs: 1_000 });
    const counts = await bench.queue.counts();
    for (const queue of ["with tasks", "paused", "with settings"]) assert.ok(queue in counts, queue);
    assert.equal(counts["with tasks"]?.ready, 1);
    assert.equal(counts["paused"]?.paused, true);
    assert.equal("never" in counts, false);
  }),
  proves("inspect", "counts of names asked for are of these alone, zeros for an unknown one", async (bench) => {
    await bench.add();
    assert.deepEqual(Object.keys(await bench.queue.counts(["unknown"])), ["unknown"]);
    assert.equal((await bench.counts("unknown")).ready, 0);
  }),
  proves("inspect", "every connection sees the same", async (bench) => {
    const id = await bench.add();
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    assert.deepEqual(await other.get([id]), await bench.queue.get([id]));
    assert.deepEqual(await other.counts(["main"]), await bench.queue.counts(["main"]));
  }),
  ...(["active", "cancelled", "expired"] as const).map((state) =>
    proves("inspect", `purge of the state ${state} is refused with OMNIQ_INVALID_OPTION`, async (bench) => {
      const id = await bench.add();
      await rejects(() => bench.queue.purge("main", ["ready", state]), "OMNIQ_INVALID_OPTION");
      assert.equal(await bench.state(id), "ready", "nothing was purged");
    }),
  ),
  proves("inspect", "purge says how many it removed", async (bench) => {
    await bench.receipts(Array.from({ length: 25 }, () => bench.task()));
    assert.equal(await bench.queue.purge("main", ["ready"]), 25);
    assert.equal((await bench.counts()).ready, 0);
  }),
];

/** Cancelling, pausing and looking. */
export const controlCases: readonly Case<TaskQueue>[] = [...cancelling, ...pausing, ...looking];
