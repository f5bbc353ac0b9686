// Cases of leases: one holder at a time, redelivery when they run out, fenced settlements, releases without cost.
import assert from "node:assert/strict";
import { expiriesLimit, expiryPauseMs, settleRepeatMs } from "@omniq/core";
import type { Lease, QueueError, Settlement, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

const exclusive: readonly Case<TaskQueue>[] = [
  proves("lease-excludes", "a task is leased once, with everything that it was stored with", async (bench) => {
    const task = bench.task({
      payload: "the payload",
      envelope: "the envelope",
      priority: 7,
      maxAttempts: 4,
      resultTtlMs: null,
    });
    await bench.receipt(task);
    const lease = await bench.takeOne();
    assert.deepEqual(
      [lease.taskId, lease.queue, lease.run, lease.attempt, lease.cancelling],
      [task.id, "main", 1, 1, false],
    );
    assert.deepEqual(lease.dependencies, []);
    const { payload, envelope, priority, maxAttempts, resultTtlMs, name, state } = lease.task;
    assert.deepEqual(
      { payload, envelope, priority, maxAttempts, resultTtlMs, name, state },
      {
        payload: "the payload",
        envelope: "the envelope",
        priority: 7,
        maxAttempts: 4,
        resultTtlMs: null,
        name: "work",
        state: "active",
      },
    );
    assert.equal(lease.task.startedAt, lease.deadline - 60_000, "the deadline is leaseMs after the start");
    assert.ok(typeof lease.sentAt === "number" && lease.sentAt <= performance.now());
    await bench.none();
  }),
  proves("lease-excludes", "reserve gives at most limit leases, each of another task", async (bench) => {
    for (let index = 0; index < 7; index++) await bench.add();
    const ids = [...(await bench.takenIds(3)), ...(await bench.takenIds(3)), ...(await bench.takenIds(3))];
    assert.equal(ids.length, 7);
    assert.equal(new Set(ids).size, 7);
  }),
  proves("lease-excludes", "leases come once, by the promise of reserve or by onLeases", async (bench) => {
    for (const waitMs of [0, 5_000]) {
      const handed: Lease[] = [];
      const ready = waitMs === 0 ? await bench.add() : undefined;
      const request = { queues: ["main"], limit: 5, leaseMs: 60_000, waitMs, worker: "bench" };
      const asked = bench.queue.reserve(request, { onLeases: (leases) => void handed.push(...leases) });
      const id = ready ?? (await bench.add());
      const resolved = await asked;
      assert.ok(handed.length === 0 || resolved.length === 0, "one way or the other");
      assert.deepEqual(
        [...handed, ...resolved].map((lease) => lease.taskId),
        [id],
      );
      for (const lease of [...handed, ...resolved]) await bench.complete(lease);
    }
  }),
  proves("lease-excludes", "tokens are never used twice", async (bench) => {
    const id = await bench.add({ maxAttempts: 10 });
    const tokens = new Set<string>();
    for (let index = 0; index < 5; index++) {
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, id);
      tokens.add(lease.token);
      await bench.release(lease);
    }
    assert.equal(tokens.size, 5);
  }),
  ...[1, 10].map((limit) =>
    proves(
      "lease-excludes",
      `racing consumers that ask for ${limit} at a time get every task exactly once`,
      async (bench) => {
        const tasks = Array.from({ length: 60 }, () => bench.task());
        await bench.receipts(tasks);
        const other = (await bench.world.open()).taskQueue?.();
        assert.ok(other);
        const taken: string[] = [];
        await Promise.all(
          [bench.queue, other, bench.queue, other].map(async (queue) => {
            // A queue that gives tasks again and again must fail, not hang.
            for (let round = 0; round < 100; round++) {
              const leases = await queue.reserve({
                queues: ["main"],
                limit,
                leaseMs: 60_000,
                waitMs: 0,
                worker: "racer",
              });
              if (leases.length === 0) return;
              taken.push(...leases.map((lease) => lease.taskId));
            }
          }),
        );
        assert.deepEqual(taken.sort(), tasks.map((task) => task.id).sort());
      },
    ),
  ),
  proves("lease-excludes", "racing consumers that wait get one task once", async (bench) => {
    const waits = awaitedLater(Array.from({ length: 5 }, () => bench.take(1, { waitMs: 400, leaseMs: 60_000 })));
    await bench.add();
    assert.equal((await Promise.all(waits)).flat().length, 1);
  }),
  proves("lease-excludes", "a lease that is extended in time stays with its holder", async (bench) => {
    await bench.add();
    const [lease] = await bench.take(1);
    assert.ok(lease);
    for (let index = 0; index < 3; index++) {
      await bench.pass(bench.leaseMs / 2);
      const state = await bench.extend(lease);
      assert.equal(state.state, "held");
      await bench.none();
    }
    await bench.complete(lease);
  }),
  proves("lease-excludes", "extend answers with the new deadline and stores progress", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    const state = await bench.extend(lease, 120_000, "half");
    assert.ok(state.state === "held" && state.deadline > lease.deadline);
    assert.equal((await bench.get(id)).progress, "half");
    await bench.extend(lease, 120_000);
    assert.equal((await bench.get(id)).progress, "half", "no progress leaves it as it was");
  }),
  proves("lease-excludes", "the attempt is charged when the lease is given", async (bench) => {
    const id = await bench.add();
    assert.equal((await bench.get(id)).attempt, 0);
    for (const attempt of [1, 2, 3]) {
      const lease = await bench.takeOne();
      assert.equal(lease.attempt, attempt);
      assert.equal((await bench.get(id)).attempt, attempt);
      if (attempt < 3) await bench.retryLater(lease, 0);
    }
  }),
];

/** Everything that can be done with a lease. */
function settlements(lease: Lease): readonly Settlement[] {
  const named = reference(lease);
  return [
    { ...named, outcome: "completed", storeResult: false, value: "1" },
    { ...named, outcome: "failed", storeResult: false, error: "{}" },
    { ...named, outcome: "cancelled", storeResult: false },
    { ...named, outcome: "retry", delayMs: 60_000, error: "{}" },
    { ...named, outcome: "release" },
  ];
}

async function expire(bench: Bench): Promise<Lease> {
  const [lease] = await bench.take(1);
  assert.ok(lease);
  await bench.runOut();
  return lease;
}

const redelivered: readonly Case<TaskQueue>[] = [
  proves(
    "lease-expiry-redelivers",
    "a task whose lease ran out is given again, its attempt refunded",
    async (bench) => {
      const id = await bench.add();
      const dead = await expire(bench);
      const lease = await bench.redelivered();
      assert.deepEqual([lease.taskId, lease.run, lease.attempt], [id, 1, 1]);
      assert.equal(lease.task.expiries, 1);
      assert.notEqual(lease.token, dead.token);
      assert.equal(await bench.settle({ ...reference(dead), outcome: "completed", storeResult: false }), "lost");
      await bench.complete(lease);
    },
  ),
  proves("lease-expiry-redelivers", "the pause before redelivery is 0 to 1,000 ms", async (bench) => {
    const id = await bench.add();
    const dead = await expire(bench);
    await bench.queue.sweep(100);
    const task = await bench.get(id);
    assert.equal(task.attempt, 0);
    assert.equal(task.expiries, 1);
    const pause = task.runAt - dead.deadline;
    // The pause counts from the time at which the dead lease was noticed.
    assert.ok(pause >= 0 && task.runAt <= bench.world.clock.now() + expiryPauseMs + marginMs, `paused ${pause} ms`);
  }),
  proves("lease-expiry-redelivers", "pauses differ, so that a killer parts from its neighbours", async (bench) => {
    const ids = await Promise.all(Array.from({ length: 12 }, () => bench.add()));
    assert.equal((await bench.take(12)).length, 12);
    await bench.runOut();
    await bench.queue.sweep(100);
    const times = (await bench.queue.get(ids)).map((task) => task?.runAt);
    assert.ok(new Set(times).size > 1, "twelve pauses are not all the same");
  }),
  proves(
    "lease-expiry-redelivers",
    "the third expiry makes an unrecorded dead letter with OMNIQ_LEASE_LOST",
    async (bench) => {
      const id = await bench.add({ maxAttempts: 10 });
      await expire(bench);
      for (let index = 1; index < expiriesLimit; index++) {
        await bench.redelivered({ leaseMs: bench.leaseMs });
        await bench.runOut();
      }
      await bench.none();
      const task = await bench.get(id);
      assert.deepEqual([task.state, task.expiries], ["failed", expiriesLimit]);
      const outcome = await bench.outcome(id);
      assert.equal(outcome.status, "failed");
      assert.equal((JSON.parse(outcome.error ?? "{}") as QueueError).code, "OMNIQ_LEASE_LOST");
      assert.equal(task.error, outcome.error);
      await bench.record(id);
      assert.equal(await bench.retry(id), "retried");
      assert.equal((await bench.get(id)).expiries, 0, "a new run forgets expiries");
    },
  ),
  proves("lease-expiry-redelivers", "expiries do not use up attempts", async (bench) => {
    const id = await bench.add({ maxAttempts: 1 });
    await expire(bench);
    const lease = await bench.redelivered();
    assert.deepEqual([lease.taskId, lease.attempt], [id, 1]);
  }),
  proves(
    "lease-expiry-redelivers",
    "a retry between expiries does not reset them, and keeps its attempt",
    async (bench) => {
      await bench.add({ maxAttempts: 5 });
      await bench.retryLater(await bench.takeOne(), 0);
      await expire(bench);
      const lease = await bench.redelivered();
      assert.deepEqual([lease.attempt, lease.task.expiries], [2, 1]);
    },
  ),
  proves(
    "lease-expiry-redelivers",
    "a lease that was extended runs out at its new deadline, not before",
    async (bench) => {
      const id = await bench.add();
      const [lease] = await bench.take(1);
      assert.ok(lease);
      await bench.extend(lease, bench.leaseMs * 2);
      await bench.pass(bench.leaseMs + marginMs);
      await bench.none();
      assert.equal(await bench.state(id), "active");
      await bench.pass(bench.leaseMs);
      assert.equal((await bench.redelivered()).taskId, id);
    },
  ),
  proves(
    "lease-expiry-redelivers",
    "a task whose cancel was asked for and whose lease ran out is cancelled",
    async (bench) => {
      const id = await bench.add();
      const [lease] = await bench.take(1);
      assert.ok(lease);
      assert.equal(await bench.cancel(id), "cancelling");
      await bench.runOut();
      await bench.none();
      assert.equal(await bench.state(id), "cancelled");
      assert.equal((await bench.outcome(id)).status, "cancelled");
    },
  ),
];

const fenced: readonly Case<TaskQueue>[] = [
  ...(["completed", "failed", "cancelled", "retry", "release"] as const).map((outcome) =>
    proves(
      "settle-fenced",
      `the same settlement sent again is settled and changes nothing: ${outcome}`,
      async (bench) => {
        const id = await bench.add();
        const lease = await bench.takeOne();
        const settlement = settlements(lease).find((one) => one.outcome === outcome);
        assert.ok(settlement);
        assert.equal(await bench.settle(settlement), "settled");
        const before = await bench.find(id);
        assert.equal(await bench.settle(settlement), "settled");
        assert.deepEqual(await bench.find(id), before);
        assert.deepEqual(await bench.extend(lease), { state: "lost" });
      },
    ),
  ),
  ...(["completed", "failed", "cancelled", "retry", "release"] as const).map((outcome) =>
    proves(
      "settle-fenced",
      `after the lease ran out and the task was given again, the old lease is lost: ${outcome}`,
      async (bench) => {
        const id = await bench.add();
        const dead = await expire(bench);
        await bench.redelivered();
        const before = await bench.get(id);
        const settlement = settlements(dead).find((one) => one.outcome === outcome);
        assert.ok(settlement);
        assert.equal(await bench.settle(settlement), "lost");
        assert.deepEqual(await bench.extend(dead), { state: "lost" });
        assert.deepEqual(await bench.get(id), before);
      },
    ),
  ),
  proves("settle-fenced", "a lease that ran out and was noticed is lost", async (bench) => {
    const id = await bench.add();
    const dead = await expire(bench);
    await bench.none();
    assert.deepEqual(await bench.extend(dead), { state: "lost" });
    assert.equal(await bench.settle({ ...reference(dead), outcome: "completed", storeResult: false }), "lost");
    assert.ok(await bench.find(id));
  }),
  proves("settle-fenced", "after a retry, the first lease can not end the second", async (bench) => {
    const id = await bench.add();
    const old = await bench.takeOne();
    await bench.retryLater(old, 0);
    const current = await bench.takeOne();
    assert.equal(await bench.settle({ ...reference(old), outcome: "completed", storeResult: false }), "lost");
    assert.equal(await bench.state(id), "active");
    await bench.complete(current);
  }),
  proves("settle-fenced", "a repeated retry does not end the lease that followed it", async (bench) => {
    const id = await bench.add();
    const old = await bench.takeOne();
    await bench.retryLater(old, 0);
    const current = await bench.takeOne();
    await bench.retryLater(old, 0);
    assert.equal(await bench.state(id), "active");
    assert.equal((await bench.extend(current, 60_000)).state, "held");
  }),
  proves("settle-fenced", "after a success, another settlement with the same token is lost", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.fail(lease);
    assert.equal(await bench.settle({ ...reference(lease), outcome: "retry", delayMs: 0, error: "{}" }), "lost");
    assert.equal(await bench.state(id), "failed");
  }),
  proves("settle-fenced", "a settlement twice in one batch counts once", async (bench) => {
    const id = await bench.add({ maxAttempts: 5 });
    const settlement: Settlement = { ...reference(await bench.takeOne()), outcome: "retry", delayMs: 0, error: "{}" };
    assert.deepEqual(await bench.queue.settle([settlement, settlement]), ["settled", "settled"]);
    assert.equal((await bench.get(id)).attempt, 1);
    assert.equal((await bench.counts()).ready, 1);
  }),
  {
    ...proves("settle-fenced", "ten minutes after its success the settlement is lost", async (bench) => {
      await bench.add();
      const settlement: Settlement = { ...reference(await bench.takeOne()), outcome: "completed", storeResult: false };
      assert.equal(await bench.settle(settlement), "settled");
      await bench.pass(settleRepeatMs - 1_000);
      assert.equal(await bench.settle(settlement), "settled");
      await bench.pass(1_000 + marginMs);
      assert.equal(await bench.settle(settlement), "lost");
    }),
    unless: (world) => (world.clock.controlled ? undefined : "it would take ten minutes of real time"),
  },
];

const released: readonly Case<TaskQueue>[] = [
  proves("release-refunds", "a released task is ready again and its attempt is refunded", async (bench) => {
    const id = await bench.add({ maxAttempts: 1 });
    for (let index = 0; index < 5; index++) {
      const lease = await bench.takeOne();
      assert.equal(lease.attempt, 1);
      await bench.release(lease);
      const task = await bench.get(id);
      assert.deepEqual([task.state, task.attempt, task.expiries], ["ready", 0, 0]);
    }
  }),
  proves("release-refunds", "a released task keeps its place before tasks that came later", async (bench) => {
    const ids = [await bench.add(), await bench.add(), await bench.add()];
    const lease = await bench.takeOne();
    await bench.pass(5);
    const later = await bench.add();
    await bench.release(lease);
    assert.deepEqual(await bench.takenIds(10), [...ids, later]);
  }),
  proves("release-refunds", "tasks released in another order come back in their own", async (bench) => {
    const ids = [await bench.add(), await bench.add(), await bench.add()];
    const leases = await bench.take(3, { leaseMs: 60_000 });
    for (const lease of [...leases].reverse()) await bench.release(lease);
    assert.deepEqual(await bench.takenIds(10), ids);
  }),
  proves(
    "release-refunds",
    "a released task of higher priority stays before the others",
    async (bench) => {
      await bench.add({ priority: 0 });
      const high = await bench.add({ priority: 9 });
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, high);
      await bench.release(lease);
      assert.equal((await bench.takeOne()).taskId, high);
    },
    ["priorities"],
  ),
  proves("release-refunds", "a release after a retry gives back only its own attempt", async (bench) => {
    const id = await bench.add();
    await bench.retryLater(await bench.takeOne(), 0);
    await bench.release(await bench.takeOne());
    assert.equal((await bench.get(id)).attempt, 1);
    assert.equal((await bench.takeOne()).attempt, 2);
  }),
  proves("release-refunds", "a release with a cancel asked for is a cancelled task, unrecorded", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.release(lease);
    assert.equal(await bench.state(id), "cancelled");
    assert.equal((await bench.outcome(id)).status, "cancelled");
    await bench.none();
  }),
];

/** Leases and how they end. */
export const leaseCases: readonly Case<TaskQueue>[] = [...exclusive, ...redelivered, ...fenced, ...released];
