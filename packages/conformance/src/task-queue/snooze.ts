// Cases of `snooze`: a release with a delay gives the attempt back and puts the task off; nothing else of it changes.
import assert from "node:assert/strict";
import type { Lease, Settlement, SettleState, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, marginMs, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

type Settle = (settlement: Settlement) => Promise<SettleState>;

/** What releases a lease with a delay. */
const later = (lease: Lease, delayMs: number): Settlement => ({ ...reference(lease), outcome: "release", delayMs });

/** One case for `settle` and one for `settleAndReserve`, which reserves of another queue here. */
function each(
  title: string,
  run: (bench: Bench, snooze: (lease: Lease, delayMs: number) => Promise<void>) => Promise<void>,
  needs: readonly Feature[] = [],
): readonly Case<TaskQueue>[] {
  const by =
    (settle: Settle) =>
    async (lease: Lease, delayMs: number): Promise<void> =>
      assert.equal(await settle(later(lease, delayMs)), "settled");
  const joint = proves(
    "snooze",
    `settleAndReserve: ${title}`,
    (bench) =>
      run(
        bench,
        by(async (settlement) => {
          const request = { queues: ["nothing is here"], limit: 1, leaseMs: 60_000, waitMs: 0, worker: "bench" };
          const answer = await bench.queue.settleAndReserve?.([settlement], request);
          return answer?.states[0] ?? assert.fail("no answer");
        }),
      ),
    needs,
  );
  return [
    proves(
      "snooze",
      title,
      (bench) =>
        run(
          bench,
          by((settlement) => bench.settle(settlement)),
        ),
      needs,
    ),
    {
      ...joint,
      unless: (world, queue) =>
        queue.settleAndReserve === undefined ? "the queue has no settleAndReserve" : joint.unless?.(world, queue),
    },
  ];
}
const prove = (title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> =>
  proves("snooze", title, run, needs);

const both: readonly Case<TaskQueue>[] = [
  ...each("the task is scheduled, its attempt refunded, and is due after the delay", async (bench, snooze) => {
    const id = await bench.add({ maxAttempts: 1 });
    for (let round = 0; round < 3; round++) {
      const lease = await bench.takeOne();
      assert.deepEqual([lease.taskId, lease.attempt], [id, 1]);
      const before = bench.world.clock.now();
      await snooze(lease, 300);
      const task = await bench.get(id);
      assert.deepEqual(
        [task.state, task.attempt, task.expiries, task.startedAt],
        ["scheduled", 0, 0, undefined],
        "it has not started",
      );
      // The store's clock and this one may be apart by a few milliseconds.
      assert.ok(task.runAt >= before + 300 - marginMs, `due ${task.runAt - before} ms later`);
      assert.deepEqual([(await bench.counts()).scheduled, (await bench.counts()).active], [1, 0]);
      await bench.none();
      await bench.pass(300 + marginMs);
    }
    await bench.complete(await bench.takeOne());
  }),
  ...each("after a retry it gives back only its own attempt, and the error stays", async (bench, snooze) => {
    const id = await bench.add();
    await bench.retryLater(await bench.takeOne(), 0, "why");
    await snooze(await bench.takeOne(), 60_000);
    const task = await bench.get(id);
    assert.deepEqual([task.state, task.attempt, task.error], ["scheduled", 1, "why"]);
    assert.notEqual(task.startedAt, undefined, "it has started once");
  }),
  ...each("its place is that of its new due time: what was ready before comes first", async (bench, snooze) => {
    const snoozed = await bench.add();
    const lease = await bench.takeOne();
    const other = await bench.add();
    await bench.pass(5);
    await snooze(lease, 20);
    await bench.pass(20 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [other, snoozed]);
  }),
  ...each("several come back in the order of their times, not of their enqueue", async (bench, snooze) => {
    const ids = [await bench.add(), await bench.add()];
    const [one, two] = await bench.take(2, { leaseMs: 60_000 });
    assert.ok(one && two);
    await snooze(one, 400);
    await snooze(two, 100);
    await bench.pass(400 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [ids[1], ids[0]]);
  }),
  ...each("with a cancel asked for it is a cancelled task, unrecorded", async (bench, snooze) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    assert.equal(await bench.cancel(id), "cancelling");
    await snooze(lease, 60_000);
    assert.equal(await bench.state(id), "cancelled");
    const outcome = await bench.outcome(id);
    assert.deepEqual([outcome.status, outcome.run], ["cancelled", 1]);
    await bench.none();
  }),
  ...each(
    "with a limit of 1 its group's slot is kept",
    async (bench, snooze) => {
      const group = { key: "g", limit: 1 };
      const [first, second] = [await bench.add({ group }), await bench.add({ group })];
      await snooze(await bench.takeOne(), 150);
      await bench.none();
      await bench.pass(150 + marginMs);
      const again = await bench.takeOne();
      assert.equal(again.taskId, first);
      await bench.complete(again);
      assert.deepEqual(await bench.takenIds(10), [second]);
    },
    ["groups"],
  ),
  ...each(
    "with a limit of 2 its group's slot is freed",
    async (bench, snooze) => {
      const group = { key: "g", limit: 2 };
      for (let index = 0; index < 2; index++) await bench.add({ group });
      const third = await bench.add({ group });
      const [lease] = await bench.take(2, { leaseMs: 60_000 });
      assert.ok(lease);
      await snooze(lease, 60_000);
      assert.deepEqual(await bench.takenIds(10), [third]);
    },
    ["groups"],
  ),
  ...each(
    "it does not count as active of its queue",
    async (bench, snooze) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.add();
      const next = await bench.add();
      const lease = await bench.takeOne();
      await bench.none();
      await snooze(lease, 60_000);
      assert.deepEqual(await bench.takenIds(10), [next]);
    },
    ["queueLimits"],
  ),
  ...each("of a first attempt `expiresAt` counts again: it expires while it is put off", async (bench, snooze) => {
    const aheadMs = bench.world.clock.controlled ? 300 : 1_500;
    const id = await bench.add({ expiresInMs: aheadMs });
    await snooze(await bench.takeOne(), 60_000);
    assert.equal(await bench.state(id), "scheduled");
    await bench.pass(aheadMs + marginMs);
    await bench.queue.sweep(100);
    assert.equal(await bench.state(id), "expired");
    assert.equal((await bench.outcome(id)).status, "expired");
  }),
  ...each("of a later attempt `expiresAt` counts no more", async (bench, snooze) => {
    const aheadMs = bench.world.clock.controlled ? 100 : 1_000;
    const id = await bench.add({ expiresInMs: aheadMs });
    await bench.retryLater(await bench.takeOne(), 0);
    await snooze(await bench.takeOne(), aheadMs + 200);
    await bench.pass(aheadMs + 200 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [id]);
  }),
  ...each(
    "its dependents stay blocked",
    async (bench, snooze) => {
      const parent = await bench.add({ queue: "parents" });
      const child = await bench.add({ dependencies: [{ taskId: parent, onFailure: "run" }] });
      await snooze(await bench.takeOne({ queues: ["parents"] }), 20);
      assert.equal(await bench.state(child), "blocked");
      await bench.pass(20 + marginMs);
      await bench.complete(await bench.takeOne({ queues: ["parents"] }), "v");
      const lease = await bench.takeOne();
      assert.deepEqual([lease.taskId, lease.dependencies[0]?.value], [child, "v"]);
    },
    ["dependencies"],
  ),
  ...each(
    "it holds its deduplication key, and can be replaced and extended",
    async (bench, snooze) => {
      const id = await bench.add({ deduplicate: { key: "k", mode: "keep" } });
      await snooze(await bench.takeOne(), 60_000);
      const states = [];
      for (const mode of ["keep", "extend", "replace"] as const) {
        const receipt = await bench.receipt(
          bench.task({ deduplicate: { key: "k", mode }, delayMs: mode === "extend" ? 30_000 : 0, payload: mode }),
        );
        assert.equal(receipt.id, id);
        states.push(receipt.state);
      }
      assert.deepEqual(states, ["deduplicated", "extended", "replaced"]);
      const lease = await bench.takeOne();
      assert.deepEqual([lease.taskId, lease.task.payload, lease.attempt], [id, "replace", 1]);
    },
    ["deduplication"],
  ),
];

const alone: readonly Case<TaskQueue>[] = [
  prove("a snoozed task is cancelled at once, like one that waits", async (bench) => {
    const id = await bench.add();
    assert.equal(await bench.settle(later(await bench.takeOne(), 60_000)), "settled");
    assert.equal(await bench.cancel(id), "cancelled");
    assert.equal((await bench.outcome(id)).status, "cancelled");
    await bench.record(id);
    assert.equal(await bench.state(id), "gone");
  }),
  prove("a snoozed task is removed and purged like one that waits", async (bench) => {
    const ids = [await bench.add(), await bench.add()];
    for (const lease of await bench.take(2, { leaseMs: 60_000 })) await bench.settle(later(lease, 60_000));
    assert.equal(await bench.remove(ids[0] as string), "removed");
    assert.equal(await bench.queue.purge("main", ["scheduled"]), 1);
    assert.deepEqual(await bench.queue.get(ids), [undefined, undefined]);
  }),
  ...(["cancel", "remove", "purge"] as const).map((verb) =>
    prove(
      `${verb} of a snoozed task frees its group's slot`,
      async (bench) => {
        const group = { key: "g", limit: 1 };
        const id = await bench.add({ group });
        await bench.settle(later(await bench.takeOne(), 60_000));
        const next = await bench.add({ group });
        await bench.none();
        if (verb === "cancel") assert.equal(await bench.cancel(id), "cancelled");
        if (verb === "remove") assert.equal(await bench.remove(id), "removed");
        if (verb === "purge") assert.equal(await bench.queue.purge("main", ["scheduled"]), 1);
        assert.deepEqual(await bench.takenIds(10), [next]);
      },
      ["groups"],
    ),
  ),
  prove("the same settlement sent again is settled and changes nothing, once due too", async (bench) => {
    const id = await bench.add();
    const settlement = later(await bench.takeOne(), 50);
    assert.deepEqual(await bench.queue.settle([settlement, settlement]), ["settled", "settled"]);
    const before = await bench.get(id);
    await bench.pass(10);
    assert.equal(await bench.settle(settlement), "settled");
    assert.deepEqual(await bench.get(id), before);
    await bench.pass(50 + marginMs);
    const lease = await bench.takeOne();
    assert.equal(await bench.settle(settlement), "settled");
    assert.equal((await bench.extend(lease, 60_000)).state, "held", "the lease that followed is not touched");
  }),
  prove("a lease that ran out can not put its task off", async (bench) => {
    const id = await bench.add();
    const [dead] = await bench.take(1);
    assert.ok(dead);
    await bench.runOut();
    await bench.redelivered();
    assert.equal(await bench.settle(later(dead, 60_000)), "lost");
    assert.equal(await bench.state(id), "active");
  }),
  prove("of a snooze and a completion that race on two connections one counts", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    for (let round = 0; round < 10; round++) {
      const id = await bench.add({ queue: `round ${round}` });
      const lease = await bench.takeOne({ queues: [`round ${round}`] });
      const [snoozed, completed]: readonly SettleState[] = await Promise.all([
        bench.settle(later(lease, 60_000)),
        bench.on(other).settle({ ...reference(lease), outcome: "completed", storeResult: false }),
      ]);
      assert.deepEqual([snoozed, completed].sort(), ["lost", "settled"]);
      assert.equal(await bench.state(id), snoozed === "settled" ? "scheduled" : "gone");
    }
  }),
  prove("of a snooze and a cancel that race on two connections the cancel is not lost", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    for (let round = 0; round < 10; round++) {
      const id = await bench.add({ queue: `round ${round}` });
      const lease = await bench.takeOne({ queues: [`round ${round}`] });
      const [state, answer]: readonly string[] = await Promise.all([
        bench.settle(later(lease, 60_000)),
        bench.on(other).cancel(id),
      ]);
      assert.equal(state, "settled");
      assert.ok(answer === "cancelling" || answer === "cancelled", String(answer));
      assert.equal(await bench.state(id), "cancelled");
    }
  }),
  prove("many are put off in one batch among other settlements", async (bench) => {
    await bench.receipts(Array.from({ length: 9 }, () => bench.task()));
    const leases = await bench.take(9, { leaseMs: 60_000 });
    const states = await bench.queue.settle(
      leases.map((lease, index): Settlement => {
        if (index % 3 === 0) return later(lease, 60_000);
        if (index % 3 === 1) return { ...reference(lease), outcome: "release" };
        return { ...reference(lease), outcome: "completed", storeResult: false };
      }),
    );
    assert.deepEqual(new Set(states), new Set(["settled"]));
    const { scheduled, ready, active } = await bench.counts();
    assert.deepEqual([scheduled, ready, active], [3, 3, 0]);
  }),
  prove("a reserve that waits, on another connection too, gets it soon after its time", async (bench) => {
    if (bench.world.clock.controlled) {
      // Where the case moves the clock, the wait is for a time that does not come by itself.
      const id = await bench.add();
      await bench.settle(later(await bench.takeOne(), 200));
      const waiting = awaitedLater(bench.take(1, { waitMs: 10_000 }));
      await bench.pass(200 + marginMs);
      assert.deepEqual(
        (await waiting).map((lease) => lease.taskId),
        [id],
      );
      return;
    }
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const id = await bench.add();
    const lease = await bench.takeOne();
    const waiting = awaitedLater(bench.on(other).take(1, { waitMs: 20_000 }));
    await bench.settle(later(lease, 300));
    const settledAt = performance.now();
    assert.deepEqual(
      (await waiting).map((one) => one.taskId),
      [id],
    );
    assert.ok(performance.now() - settledAt < 10_000, "long before its wait was over");
  }),
  prove("in a paused queue it waits for resume", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.queue.pause("main");
    await bench.settle(later(lease, 20));
    await bench.pass(20 + marginMs);
    await bench.none();
    await bench.queue.resume("main");
    assert.deepEqual(await bench.takenIds(10), [id]);
  }),
  {
    ...prove("settleAndReserve gives the next task, not the one that it put off", async (bench) => {
      await bench.add();
      const next = await bench.add();
      const request = { queues: ["main"], limit: 10, leaseMs: 60_000, waitMs: 0, worker: "bench" };
      const answer = await bench.queue.settleAndReserve?.([later(await bench.takeOne(), 60_000)], request);
      assert.deepEqual([answer?.states, answer?.leases.map((lease) => lease.taskId)], [["settled"], [next]]);
    }),
    unless: (_world, queue) => (queue.settleAndReserve === undefined ? "the queue has no settleAndReserve" : undefined),
  },
];

/** Releases with a delay. */
export const snoozeCases: readonly Case<TaskQueue>[] = [...both, ...alone];
