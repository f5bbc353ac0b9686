// Cases of limits: groups, active tasks of a queue, and starts per time.
import assert from "node:assert/strict";
import type { Lease, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves } from "./bench.ts";

const inGroup = (limit: number, key: string = "g"): { group: { key: string; limit: number } } => ({
  group: { key, limit },
});
const grouped = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> =>
  proves("group-limit", title, run, ["groups"]);

const groups: readonly Case<TaskQueue>[] = [
  ...[1, 2, 3].map((limit) =>
    grouped(`a group of ${limit} has at most ${limit} active tasks`, async (bench) => {
      const ids = [];
      for (let index = 0; index < 5; index++) ids.push(await bench.add(inGroup(limit)));
      const leases = await bench.take(10, { leaseMs: 60_000 });
      assert.deepEqual(
        leases.map((lease) => lease.taskId),
        ids.slice(0, limit),
      );
      await bench.none();
      await bench.complete(leases[0] as Lease);
      assert.deepEqual(await bench.takenIds(10), [ids[limit]]);
    }),
  ),
  grouped("a blocked group does not hide other tasks", async (bench) => {
    for (let index = 0; index < 30; index++) await bench.add(inGroup(1));
    const other = await bench.add();
    const another = await bench.add(inGroup(1, "h"));
    assert.equal((await bench.take(1, { leaseMs: 60_000 })).length, 1);
    assert.deepEqual(await bench.takenIds(10), [other, another]);
  }),
  grouped("what is held back counts as ready", async (bench) => {
    const id = await bench.add(inGroup(1));
    const held = await bench.add(inGroup(1));
    await bench.takeOne();
    assert.deepEqual([await bench.state(id), await bench.state(held)], ["active", "ready"]);
    assert.deepEqual([(await bench.counts()).ready, (await bench.counts()).active], [1, 1]);
  }),
  grouped("each task counts against its own limit", async (bench) => {
    const ids = [
      await bench.add(inGroup(3)),
      await bench.add(inGroup(3)),
      await bench.add(inGroup(1)),
      await bench.add(inGroup(3)),
    ];
    const leases = await bench.take(10, { leaseMs: 60_000 });
    assert.deepEqual(leases.map((lease) => lease.taskId).slice(0, 2), ids.slice(0, 2));
    assert.ok(!leases.some((lease) => lease.taskId === ids[2]), "two slots are taken, and its own limit is 1");
    for (const lease of leases) await bench.complete(lease);
    const rest = await bench.take(10, { leaseMs: 60_000 });
    assert.ok(rest.some((lease) => lease.taskId === ids[2]));
  }),
  grouped("with a limit of 1 a task that waits for its retry keeps the slot", async (bench) => {
    const first = await bench.add(inGroup(1));
    const second = await bench.add(inGroup(1));
    await bench.retryLater(await bench.takeOne(), 150);
    await bench.none();
    await bench.pass(150 + marginMs);
    const again = await bench.takeOne();
    assert.equal(again.taskId, first);
    await bench.complete(again);
    assert.deepEqual(await bench.takenIds(10), [second]);
  }),
  grouped("with a limit of 1 a task that waits for its redelivery keeps the slot", async (bench) => {
    const first = await bench.add(inGroup(1));
    const second = await bench.add(inGroup(1));
    assert.equal((await bench.take(1)).length, 1);
    await bench.runOut();
    const again = await bench.redelivered();
    assert.equal(again.taskId, first);
    await bench.complete(again);
    assert.deepEqual(await bench.takenIds(10), [second]);
  }),
  grouped("with a limit of 2 a task that waits for its retry frees its slot", async (bench) => {
    await bench.add(inGroup(2));
    await bench.add(inGroup(2));
    const third = await bench.add(inGroup(2));
    const [lease] = await bench.take(2, { leaseMs: 60_000 });
    await bench.retryLater(lease as Lease, 60_000);
    assert.deepEqual(await bench.takenIds(10), [third]);
  }),
  grouped("with a limit of 1 a key's tasks run strictly in order, failures included", async (bench) => {
    const ids = [];
    for (let index = 0; index < 4; index++) ids.push(await bench.add({ ...inGroup(1), maxAttempts: 2 }));
    const started: string[] = [];
    for (let round = 0; round < 8; round++) {
      const leases = await bench.take(10, { leaseMs: 60_000 });
      assert.equal(leases.length, 1);
      const lease = leases[0] as Lease;
      started.push(lease.taskId);
      await (lease.attempt === 1 ? bench.retryLater(lease, 0) : bench.complete(lease));
    }
    assert.deepEqual(
      started,
      ids.flatMap((id) => [id, id]),
    );
  }),
  ...(["completed", "failed", "cancelled", "dead by retry", "released", "cancelled by release"] as const).map((how) =>
    grouped(`a slot is free after its task was ${how}`, async (bench) => {
      await bench.add({ ...inGroup(1), maxAttempts: 1 });
      const next = await bench.add(inGroup(1));
      const lease = await bench.takeOne();
      if (how === "completed") await bench.complete(lease);
      if (how === "failed") await bench.fail(lease);
      if (how === "cancelled") await bench.settleCancelled(lease);
      if (how === "dead by retry") await bench.retryLater(lease, 0);
      if (how === "cancelled by release") await bench.cancel(lease.taskId);
      if (how.endsWith("release") || how === "released") await bench.release(lease);
      assert.deepEqual(await bench.takenIds(10), [how === "released" ? lease.taskId : next]);
    }),
  ),
  ...(["cancel", "remove", "purge"] as const).map((verb) =>
    grouped(`${verb} of a task that waits for its retry frees its slot`, async (bench) => {
      const id = await bench.add(inGroup(1));
      await bench.retryLater(await bench.takeOne(), 60_000);
      const next = await bench.add(inGroup(1));
      await bench.none();
      if (verb === "cancel") assert.equal(await bench.cancel(id), "cancelled");
      if (verb === "remove") assert.equal(await bench.remove(id), "removed");
      if (verb === "purge") assert.equal(await bench.queue.purge("main", ["scheduled"]), 1);
      assert.deepEqual(await bench.takenIds(10), [next]);
    }),
  ),
  grouped("a task that has never started holds nothing before its time", async (bench) => {
    await bench.add({ ...inGroup(1), delayMs: 60_000 });
    const id = await bench.add(inGroup(1));
    assert.deepEqual(await bench.takenIds(10), [id]);
  }),
  grouped("groups are per queue", async (bench) => {
    const a = await bench.add({ ...inGroup(1), queue: "a" });
    const b = await bench.add({ ...inGroup(1), queue: "b" });
    assert.deepEqual(await bench.takenIds(10, { queues: ["a", "b"] }), [a, b]);
  }),
  grouped("inside a group higher priority comes first", async (bench) => {
    await bench.add(inGroup(1));
    const lease = await bench.takeOne();
    await bench.add(inGroup(1));
    const high = await bench.add({ ...inGroup(1), priority: 5 });
    await bench.complete(lease);
    assert.deepEqual(await bench.takenIds(10), [high]);
  }),
  grouped("many connections together keep to the limit", async (bench) => {
    for (let index = 0; index < 20; index++) await bench.add(inGroup(2));
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const request = { queues: ["main"], limit: 5, leaseMs: 60_000, waitMs: 0, worker: "racer" };
    const leases = (
      await Promise.all([bench.queue, other, bench.queue, other].map((queue) => queue.reserve(request)))
    ).flat();
    assert.equal(leases.length, 2);
  }),
  grouped("a retried dead letter is in its group again", async (bench) => {
    const id = await bench.addDeadLetter(inGroup(1));
    await bench.retry(id);
    await bench.takeOne();
    await bench.add(inGroup(1));
    await bench.none();
  }),
];

const limited = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> =>
  proves("queue-limit", title, run, ["queueLimits"]);

const queueLimits: readonly Case<TaskQueue>[] = [
  ...[1, 3].map((maxActive) =>
    limited(`a queue has at most ${maxActive} active tasks`, async (bench) => {
      await bench.queue.configureQueue("main", { maxActive });
      const ids = [];
      for (let index = 0; index < 5; index++) ids.push(await bench.add());
      const leases = await bench.take(10, { leaseMs: 60_000 });
      assert.deepEqual(
        leases.map((lease) => lease.taskId),
        ids.slice(0, maxActive),
      );
      await bench.none();
      assert.equal((await bench.counts()).ready, 5 - maxActive);
      await bench.complete(leases[0] as Lease);
      assert.deepEqual(await bench.takenIds(10), [ids[maxActive]]);
    }),
  ),
  ...(["complete", "fail", "retry", "release"] as const).map((how) =>
    limited(`${how} gives room`, async (bench) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.add();
      await bench.add();
      const lease = await bench.takeOne();
      await bench.none();
      if (how === "complete") await bench.complete(lease);
      if (how === "fail") await bench.fail(lease);
      if (how === "retry") await bench.retryLater(lease, 60_000);
      if (how === "release") await bench.release(lease);
      assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 1);
    }),
  ),
  limited("the limit is the queue's own, and others of the same request go on", async (bench) => {
    await bench.queue.configureQueue("a", { maxActive: 1 });
    for (let index = 0; index < 2; index++) await bench.add({ queue: "a" });
    for (let index = 0; index < 2; index++) await bench.add({ queue: "b" });
    assert.deepEqual(
      (await bench.take(10, { queues: ["a", "b"] })).map((lease) => lease.queue),
      ["a", "b", "b"],
    );
  }),
  limited("a lower limit counts what is active already", async (bench) => {
    for (let index = 0; index < 4; index++) await bench.add();
    const leases = await bench.take(3, { leaseMs: 60_000 });
    await bench.queue.configureQueue("main", { maxActive: 2 });
    await bench.none();
    await bench.complete(leases[0] as Lease);
    await bench.none();
    await bench.complete(leases[1] as Lease);
    assert.equal((await bench.take(10)).length, 1);
  }),
  limited("undefined leaves a limit as it is, null takes it away", async (bench) => {
    await bench.queue.configureQueue("main", { maxActive: 1 });
    for (let index = 0; index < 3; index++) await bench.add();
    await bench.takeOne();
    await bench.queue.configureQueue("main", { deadLetterTtlMs: 60_000 });
    await bench.none();
    await bench.queue.configureQueue("main", { maxActive: null });
    assert.equal((await bench.take(10)).length, 2);
  }),
  limited("many connections together keep to the limit", async (bench) => {
    await bench.queue.configureQueue("main", { maxActive: 3 });
    await bench.receipts(Array.from({ length: 20 }, () => bench.task()));
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const request = { queues: ["main"], limit: 2, leaseMs: 60_000, waitMs: 0, worker: "racer" };
    const leases = (
      await Promise.all([bench.queue, other, bench.queue, other].map((queue) => queue.reserve(request)))
    ).flat();
    assert.equal(leases.length, 3);
  }),
];

const rated = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> =>
  proves("rate-limit", title, run, ["rateLimits"]);

/** Replays the contract's formula: no start came before its bucket had room. */
function keepsRate(starts: readonly number[], limit: number, windowMs: number): void {
  const step = windowMs / limit;
  let arrival = -Infinity;
  for (const now of [...starts].sort((a, b) => a - b)) {
    const t = Math.max(arrival, now);
    // Stores may keep the arrival in whole milliseconds.
    assert.ok(
      Math.floor((now + windowMs - t) / step + 1 / step) >= 1,
      `a start at ${now} is over ${limit} in ${windowMs} ms`,
    );
    arrival = t + step;
  }
}

const rates: readonly Case<TaskQueue>[] = [
  ...[1, 2, 5].map((limit) =>
    rated(`the bucket is full at first: ${limit} start at once, no more`, async (bench) => {
      await bench.queue.configureQueue("main", { rateLimit: { limit, windowMs: 60_000 } });
      for (let index = 0; index < limit + 3; index++) await bench.add();
      assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, limit);
      await bench.none();
      assert.equal((await bench.counts()).ready, 3);
    }),
  ),
  rated("starts follow the formula, as time passes", async (bench) => {
    const [limit, windowMs] = [3, 600];
    await bench.queue.configureQueue("main", { rateLimit: { limit, windowMs } });
    await bench.receipts(Array.from({ length: 12 }, () => bench.task()));
    const starts: number[] = [];
    for (let round = 0; round < 8; round++) {
      starts.push(...(await bench.take(10, { leaseMs: 60_000 })).map((lease) => lease.task.startedAt as number));
      await bench.pass(100);
    }
    keepsRate(starts, limit, windowMs);
    assert.ok(starts.length >= 6, `${starts.length} starts in 700 ms and more`);
  }),
  rated("a token is back after windowMs / limit", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 2, windowMs: 500 } });
    await bench.receipts(Array.from({ length: 6 }, () => bench.task()));
    assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 2);
    await bench.pass(250 + marginMs);
    assert.ok((await bench.take(10, { leaseMs: 60_000 })).length >= 1);
  }),
  rated("the bucket never holds more than limit", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 2, windowMs: 100 } });
    await bench.pass(300);
    await bench.receipts(Array.from({ length: 5 }, () => bench.task()));
    assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 2);
  }),
  rated("tasks that end do not give their token back", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 1, windowMs: 60_000 } });
    await bench.add();
    await bench.add();
    await bench.complete(await bench.takeOne());
    await bench.none();
  }),
  rated("a retry is a start too", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 1, windowMs: 60_000 } });
    await bench.add();
    await bench.retryLater(await bench.takeOne(), 0);
    await bench.none();
  }),
  rated("the rate is the queue's own, and others of the same request go on", async (bench) => {
    await bench.queue.configureQueue("a", { rateLimit: { limit: 1, windowMs: 60_000 } });
    for (let index = 0; index < 2; index++) await bench.add({ queue: "a" });
    for (let index = 0; index < 2; index++) await bench.add({ queue: "b" });
    assert.deepEqual(
      (await bench.take(10, { queues: ["a", "b"] })).map((lease) => lease.queue),
      ["a", "b", "b"],
    );
  }),
  rated("undefined leaves a rate as it is, null takes it away", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 1, windowMs: 60_000 } });
    for (let index = 0; index < 3; index++) await bench.add();
    await bench.takeOne();
    await bench.queue.configureQueue("main", {});
    await bench.none();
    await bench.queue.configureQueue("main", { rateLimit: null });
    assert.equal((await bench.take(10)).length, 2);
  }),
  rated("many connections together keep to the rate", async (bench) => {
    await bench.queue.configureQueue("main", { rateLimit: { limit: 3, windowMs: 60_000 } });
    await bench.receipts(Array.from({ length: 20 }, () => bench.task()));
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const request = { queues: ["main"], limit: 2, leaseMs: 60_000, waitMs: 0, worker: "racer" };
    const leases = (
      await Promise.all([bench.queue, other, bench.queue, other].map((queue) => queue.reserve(request)))
    ).flat();
    assert.equal(leases.length, 3);
  }),
  rated("a limit that holds a task back costs no token", async (bench) => {
    await bench.queue.configureQueue("main", { maxActive: 1, rateLimit: { limit: 2, windowMs: 60_000 } });
    for (let index = 0; index < 3; index++) await bench.add();
    const lease = await bench.takeOne();
    await bench.none();
    await bench.complete(lease);
    await bench.complete(await bench.takeOne());
    await bench.none();
  }),
];

/** Groups, active tasks and rates. */
export const limitCases: readonly Case<TaskQueue>[] = [...groups, ...queueLimits, ...rates];
