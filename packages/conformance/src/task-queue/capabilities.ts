// Cases of what a queue says of itself: limits that hold, features that are missing and say so, and transactions.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import { commonPayloadBytes } from "@omniq/core";
import type { Rule } from "../rules.ts";
import type { Case } from "../suite.ts";
import { Bench, type Feature, proves, rejects } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

/** A feature that is missing must refuse what needs it. */
function refuses(rule: Rule, feature: Feature, call: (bench: Bench) => Promise<unknown>): Case<TaskQueue> {
  return {
    rule,
    title: `without ${feature} a call that needs it rejects with OMNIQ_UNSUPPORTED`,
    unless: (_world, queue) => (queue.capabilities[feature] ? `the queue has ${feature}` : undefined),
    run: async (queue, world) => {
      const bench = new Bench(queue, world);
      await rejects(() => call(bench), "OMNIQ_UNSUPPORTED");
      assert.equal((await bench.counts()).ready, 0, "nothing was stored");
    },
  };
}
const refusesTask = (rule: Rule, feature: Feature, overrides: Partial<NewTask>): Case<TaskQueue> =>
  refuses(rule, feature, (bench) => bench.call([bench.task(overrides)]));

const missing: readonly Case<TaskQueue>[] = [
  refusesTask("order", "priorities", { priority: 1 }),
  refusesTask("dependencies", "dependencies", { dependencies: [{ taskId: "a", onFailure: "fail" }] }),
  refusesTask("deduplicate", "deduplication", { deduplicate: { key: "k", mode: "keep" } }),
  refusesTask("group-limit", "groups", { group: { key: "g", limit: 1 } }),
  refuses("queue-limit", "queueLimits", (bench) => bench.queue.configureQueue("main", { maxActive: 1 })),
  refuses("rate-limit", "rateLimits", (bench) =>
    bench.queue.configureQueue("main", { rateLimit: { limit: 1, windowMs: 1_000 } }),
  ),
  {
    rule: "transactional",
    title: "without transactions an enqueue in one rejects with OMNIQ_UNSUPPORTED",
    unless: (_world, queue) => (queue.capabilities.transactions === false ? undefined : "the queue has transactions"),
    run: async (queue, world) => {
      const bench = new Bench(queue, world);
      const task = bench.task();
      await rejects(() => queue.enqueue([{ tasks: [task] }], { transaction: {} }), "OMNIQ_UNSUPPORTED");
      assert.equal(await bench.find(task.id), undefined);
    },
  },
];

const limits: readonly Case<TaskQueue>[] = [
  proves(
    "inspect",
    "the queue takes at least the payload that every backend takes, and as much as it says",
    async (bench) => {
      const { maxPayloadBytes } = bench.queue.capabilities;
      assert.ok(maxPayloadBytes >= commonPayloadBytes);
      // Payloads of many megabytes prove nothing more and take their time.
      const payload = "x".repeat(Math.min(maxPayloadBytes, 4 * commonPayloadBytes));
      const id = await bench.add({ payload });
      assert.equal((await bench.takeOne()).task.payload, payload);
      assert.equal((await bench.get(id)).payload.length, payload.length);
    },
  ),
  proves("inspect", "capabilities are there, of their kinds, and the component says what it is", async (bench) => {
    const { capabilities, component, backend } = bench.queue;
    assert.equal(component, "task-queue");
    assert.equal(typeof backend, "object");
    for (const name of [
      "durable",
      "push",
      "priorities",
      "dependencies",
      "deduplication",
      "groups",
      "queueLimits",
      "rateLimits",
      "remoteHeartbeats",
    ] as const) {
      assert.equal(typeof capabilities[name], "boolean", name);
    }
    assert.ok(["process", "host", "network"].includes(capabilities.reach));
    assert.ok(["async", "sync", false].includes(capabilities.transactions));
    assert.ok(capabilities.maxBatch >= 1);
    assert.ok(capabilities.minimumLeaseMs >= 0);
    assert.equal(bench.queue.enqueueSync !== undefined, capabilities.transactions === "sync");
  }),
];

/** Enqueues in the user's transaction, in the way that the queue has. */
function inTransaction(bench: Bench, tasks: readonly NewTask[], after: () => void): Promise<unknown> {
  const { queue, world } = bench;
  assert.ok(world.transaction, "the adapter's test gives `transaction`, since its queue has transactions");
  return world.transaction((transaction) => {
    if (queue.enqueueSync !== undefined) {
      const answers = queue.enqueueSync([{ tasks }], { transaction });
      after();
      return answers;
    }
    return queue.enqueue([{ tasks }], { transaction }).then((answers) => {
      after();
      return answers;
    });
  });
}

const transactional = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> => ({
  ...proves("transactional", title, run),
  unless: (_world, queue) => (queue.capabilities.transactions === false ? "the queue has no transactions" : undefined),
});
const nothing = (): void => undefined;

const transactions: readonly Case<TaskQueue>[] = [
  transactional("tasks are there when the transaction commits", async (bench) => {
    const tasks = [bench.task(), bench.task()];
    assert.deepEqual(await inTransaction(bench, tasks, nothing), [
      { state: "accepted", receipts: tasks.map((task) => ({ id: task.id, state: "enqueued" })) },
    ]);
    assert.deepEqual(
      await bench.takenIds(10),
      tasks.map((task) => task.id),
    );
  }),
  transactional("tasks never were when it rolls back", async (bench) => {
    const task = bench.task();
    const reason = new Error("rolled back");
    await assert.rejects(
      inTransaction(bench, [task], () => {
        throw reason;
      }),
      (error) => error === reason,
    );
    assert.equal(await bench.find(task.id), undefined);
    await bench.none();
    assert.deepEqual(await bench.receipt(task), { id: task.id, state: "enqueued" }, "the id was not taken");
  }),
  transactional("a known id is a duplicate in a transaction too", async (bench) => {
    const task = bench.task();
    await bench.receipt(task);
    assert.deepEqual(await inTransaction(bench, [task], nothing), [
      { state: "accepted", receipts: [{ id: task.id, state: "duplicate" }] },
    ]);
  }),
  transactional("a rolled back call takes no deduplication key", async (bench) => {
    const deduplicate = { key: "k", mode: "keep" } as const;
    await assert.rejects(
      inTransaction(bench, [bench.task({ deduplicate })], () => {
        throw new Error("rolled back");
      }),
    );
    assert.equal((await bench.receipt(bench.task({ deduplicate }))).state, "enqueued");
  }),
  transactional("a waiting reserve gets the task after the commit", async (bench) => {
    const waiting = awaitedLater(bench.take(1, { waitMs: 8_000, leaseMs: 60_000 }));
    const task = bench.task();
    await inTransaction(bench, [task], nothing);
    assert.deepEqual(
      (await waiting).map((lease) => lease.taskId),
      [task.id],
    );
  }),
];

/** Limits, missing features and transactions. */
export const capabilityCases: readonly Case<TaskQueue>[] = [...limits, ...missing, ...transactions];
