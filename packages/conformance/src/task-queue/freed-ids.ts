// Cases of `enqueue-idempotent` about ids that are let go: by `remove` and `purge`, or because they need not be remembered.
import assert from "node:assert/strict";
import type { TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, marginMs, proves, reference } from "./bench.ts";

const prove = (title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> =>
  proves("enqueue-idempotent", title, run, needs);

/** The id is free: a new task has it, runs from its first attempt on, and its id is known from then on. */
async function isFree(bench: Bench, id: string): Promise<void> {
  assert.equal(await bench.state(id), "gone");
  assert.deepEqual(await bench.receipt(bench.task({ id, payload: "anew" })), { id, state: "enqueued" });
  assert.deepEqual(await bench.receipt(bench.task({ id, payload: "again" })), { id, state: "duplicate" });
  const lease = await bench.takeOne();
  assert.deepEqual([lease.taskId, lease.task.payload, lease.run, lease.attempt], [id, "anew", 1, 1]);
  await bench.complete(lease);
  assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
}

/** Tasks that are there, and removed. */
const removed: Readonly<Record<string, (bench: Bench) => Promise<string>>> = {
  ready: (bench) => bench.add(),
  scheduled: (bench) => bench.add({ delayMs: 60_000 }),
  "waiting for its retry": async (bench) => {
    const id = await bench.add();
    await bench.retryLater(await bench.takeOne(), 60_000);
    return id;
  },
  "a dead letter": (bench) => bench.addDeadLetter(),
};

/** Tasks that have left the queue, their ids remembered. */
const remembered: Readonly<Record<string, (bench: Bench) => Promise<string>>> = {
  completed: async (bench) => {
    const id = await bench.add();
    await bench.complete(await bench.takeOne());
    return id;
  },
  "cancelled by its worker": async (bench) => {
    const id = await bench.add();
    await bench.settleCancelled(await bench.takeOne());
    return id;
  },
  "cancelled while waiting, and recorded": async (bench) => {
    const id = await bench.add();
    await bench.cancel(id);
    await bench.record(id);
    return id;
  },
  "expired, and recorded": async (bench) => {
    const id = await bench.add({ expiresInMs: 10 });
    await bench.pass(10 + marginMs);
    await bench.none();
    await bench.record(id);
    return id;
  },
};

/** Which ids are free, and when. */
export const freedIdCases: readonly Case<TaskQueue>[] = [
  ...Object.entries(removed).flatMap(([how, reach]) => [
    prove(`remove of a task that is ${how} frees its id at once`, async (bench) => {
      const id = await reach(bench);
      assert.equal(await bench.remove(id), "removed");
      await isFree(bench, id);
    }),
    prove(`purge of a task that is ${how} frees its id at once`, async (bench) => {
      const id = await reach(bench);
      assert.equal(await bench.queue.purge("main", ["scheduled", "ready", "failed"]), 1);
      await isFree(bench, id);
    }),
    prove(`after remove of a task that is ${how} there is nothing more to free`, async (bench) => {
      const id = await reach(bench);
      assert.equal(await bench.remove(id), "removed");
      assert.equal(await bench.remove(id), "unknown");
    }),
  ]),
  ...Object.entries(remembered).map(([how, reach]) =>
    prove(`remove frees the id of a task that was ${how}, once`, async (bench) => {
      const id = await reach(bench);
      assert.equal(await bench.remove(id), "freed");
      assert.equal(await bench.remove(id), "unknown");
      assert.deepEqual(await bench.queue.unrecorded(10), []);
      await isFree(bench, id);
    }),
  ),
  prove("an id that one connection freed is free on another, and known there once it is taken again", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const id = await bench.add();
    await bench.complete(await bench.takeOne());
    assert.deepEqual(await other.remove([id]), ["freed"]);
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "enqueued" });
    assert.deepEqual(await bench.on(other).receipt(bench.task({ id })), { id, state: "duplicate" });
  }),
  prove("many are answered in the order asked: removed, freed, busy, unknown", async (bench) => {
    const [over, active] = [await bench.add(), await bench.add()];
    const [lease] = await bench.take(2, { leaseMs: 60_000 });
    assert.ok(lease);
    await bench.complete(lease);
    const [ready, cancelled] = [await bench.add(), await bench.add()];
    await bench.cancel(cancelled);
    assert.deepEqual(await bench.queue.remove([cancelled, "nobody", over, ready, active]), [
      "busy",
      "unknown",
      "freed",
      "removed",
      "busy",
    ]);
    assert.equal(await bench.state(active), "active");
  }),
  prove(
    "with rememberMs 0 an id is known while its task is there, and free at once when it has gone",
    async (bench) => {
      const id = await bench.add({ rememberMs: 0 });
      assert.deepEqual(await bench.receipt(bench.task({ id, rememberMs: 0 })), { id, state: "duplicate" });
      const lease = await bench.takeOne();
      assert.deepEqual(await bench.receipt(bench.task({ id, rememberMs: 0 })), { id, state: "duplicate" });
      await bench.complete(lease);
      assert.equal(await bench.remove(id), "unknown", "nothing is remembered");
      await isFree(bench, id);
    },
  ),
  prove("with rememberMs 0 a cancelled task's id is free once its outcome is recorded", async (bench) => {
    const id = await bench.add({ rememberMs: 0 });
    await bench.cancel(id);
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
    await bench.record(id);
    await isFree(bench, id);
  }),
  prove("with rememberMs 0 a dead letter's id is known until it is removed", async (bench) => {
    const id = await bench.addDeadLetter({ rememberMs: 0 });
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
    assert.equal(await bench.remove(id), "removed");
    await isFree(bench, id);
  }),
  ...(["completed", "cancelled"] as const).map((outcome) =>
    proves(
      "settle-fenced",
      `with rememberMs 0 the same settlement sent again is settled: ${outcome}`,
      async (bench) => {
        await bench.add({ rememberMs: 0 });
        const settlement = { ...reference(await bench.takeOne()), outcome, storeResult: false } as const;
        assert.equal(await bench.settle(settlement), "settled");
        assert.equal(await bench.settle(settlement), "settled");
        await bench.queue.sweep(100);
        assert.equal(await bench.settle(settlement), "settled");
      },
    ),
  ),
  prove("an id that is forgotten has nothing to free", async (bench) => {
    const id = await bench.add({ rememberMs: 20 });
    await bench.complete(await bench.takeOne());
    await bench.pass(20 + marginMs);
    assert.equal(await bench.remove(id), "unknown");
  }),
  prove("the end of an id's first memory does not forget the task that has it anew", async (bench) => {
    const id = await bench.add({ rememberMs: 200 });
    await bench.complete(await bench.takeOne());
    await bench.remove(id);
    await bench.add({ id, rememberMs: 60_000 });
    await bench.complete(await bench.takeOne());
    await bench.pass(200 + marginMs);
    await bench.queue.sweep(100);
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
  }),
  prove("a lease of the task that was removed can not touch the one that has its id now", async (bench) => {
    const id = await bench.add();
    const old = await bench.takeOne();
    await bench.fail(old);
    assert.equal(await bench.remove(id), "removed");
    await bench.add({ id });
    const lease = await bench.takeOne();
    assert.deepEqual([lease.run, lease.attempt], [old.run, old.attempt], "all but the token is the same");
    assert.equal(await bench.settle({ ...reference(old), outcome: "completed", storeResult: false }), "lost");
    assert.deepEqual(await bench.extend(old), { state: "lost" });
    assert.equal(await bench.state(id), "active");
    assert.equal((await bench.extend(lease, 60_000)).state, "held");
    await bench.complete(lease);
  }),
  prove("a settlement that is sent again after its id was freed and taken again ends nothing", async (bench) => {
    const id = await bench.add();
    const settled = { ...reference(await bench.takeOne()), outcome: "completed", storeResult: false } as const;
    assert.equal(await bench.settle(settled), "settled");
    assert.equal(await bench.remove(id), "freed");
    await bench.add({ id });
    await bench.settle(settled);
    assert.equal(await bench.state(id), "ready");
    const lease = await bench.takeOne();
    await bench.settle(settled);
    assert.equal((await bench.extend(lease, 60_000)).state, "held");
  }),
  prove("of racing enqueues of a freed id on two connections one stores the task", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const id = await bench.add();
    await bench.complete(await bench.takeOne());
    assert.equal(await bench.remove(id), "freed");
    const tasks = Array.from({ length: 10 }, () => bench.task({ id }));
    const receipts = await Promise.all(
      tasks.map((task, index) => bench.on(index % 2 === 0 ? bench.queue : other).receipt(task)),
    );
    assert.equal(receipts.filter((receipt) => receipt.state === "enqueued").length, 1);
    assert.equal((await bench.counts()).ready, 1);
  }),
  prove(
    "a blocked task's id is free when it was removed, and its parent's end finds nothing",
    async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      const id = await bench.add({ dependencies: [{ taskId: parent, onFailure: "fail" }] });
      assert.equal(await bench.remove(id), "removed");
      await bench.add({ id, delayMs: 60_000 });
      await bench.complete(await bench.takeOne({ queues: ["parents"] }));
      assert.equal(await bench.state(id), "scheduled", "the task that has its id now is not the dependent");
      assert.deepEqual((await bench.get(id)).dependencies ?? [], []);
    },
    ["dependencies"],
  ),
  prove(
    "a freed id is no dependency until it is taken again",
    async (bench) => {
      const id = await bench.add({ queue: "parents" });
      assert.equal(await bench.remove(id), "removed");
      const child = bench.task({ dependencies: [{ taskId: id, onFailure: "fail" }] });
      assert.deepEqual(await bench.call([child]), { state: "unknown-dependencies", taskIds: [id] });
      await bench.add({ id, queue: "parents" });
      assert.equal((await bench.receipt(child)).state, "enqueued");
      await bench.complete(await bench.takeOne({ queues: ["parents"] }), "v");
      assert.equal((await bench.takeOne()).dependencies[0]?.value, "v");
    },
    ["dependencies"],
  ),
];
