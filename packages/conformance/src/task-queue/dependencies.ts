// Cases of dependencies: when a dependent may start, what it is told, and what becomes of it when one did not complete.
import assert from "node:assert/strict";
import type { Dependency, DependencyOutcome, NewTask, QueueError, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves } from "./bench.ts";
import { retriedDependentCases } from "./retried-dependents.ts";

const on = (...taskIds: readonly string[]): { dependencies: readonly Dependency[] } => ({
  dependencies: taskIds.map((taskId) => ({ taskId, onFailure: "fail" })),
});
const allowing = (...taskIds: readonly string[]): { dependencies: readonly Dependency[] } => ({
  dependencies: taskIds.map((taskId) => ({ taskId, onFailure: "run" })),
});
const parents = { queue: "parents" } as const;
const from = { queues: ["parents"] } as const;
const prove = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> =>
  proves("dependencies", title, run, ["dependencies"]);

/** The ways in which a parent does not complete; each leaves it over and recorded. */
const unsuccessful: Readonly<Record<string, (bench: Bench, id: string) => Promise<void>>> = {
  "failed by its worker": async (bench) => bench.fail(await bench.takeOne(from), "why"),
  "cancelled by its worker": async (bench) => bench.settleCancelled(await bench.takeOne(from)),
  "removed while waiting": async (bench, id) => assert.equal(await bench.remove(id), "removed"),
  "purged while waiting": async (bench) => assert.equal(await bench.queue.purge("parents", ["ready"]), 1),
  "cancelled while waiting": async (bench, id) => {
    await bench.cancel(id);
    assert.equal((await bench.counts()).blocked, 1, "it is blocked until the parent's outcome is recorded");
    await bench.record(id);
  },
  "dead by retry": async (bench, id) => {
    await bench.retryLater(await bench.takeOne(from), 0, "why");
    assert.equal((await bench.counts()).blocked, 1, "it is blocked until the parent's outcome is recorded");
    await bench.record(id);
  },
  expired: async (bench, id) => {
    await bench.pass(60 + marginMs);
    await bench.none(from);
    assert.equal((await bench.counts()).blocked, 1, "it is blocked until the parent's outcome is recorded");
    await bench.record(id);
  },
};

const outcome = (overrides: Partial<DependencyOutcome> = {}): DependencyOutcome => ({
  taskId: "over",
  run: 1,
  attempt: 1,
  status: "completed",
  value: "the value",
  finishedAt: 1_700_000_000_000,
  ...overrides,
});

/** Only what is set, since `undefined` and missing are the same to a reader. */
function plain(one: DependencyOutcome | undefined): Record<string, unknown> {
  return Object.fromEntries(Object.entries(one ?? {}).filter(([, value]) => value !== undefined && value !== null));
}

/** Parents that end badly; expiry needs a short time to start. */
function parentOf(how: string): Partial<NewTask> {
  return { ...parents, maxAttempts: 1, ...(how === "expired" ? { expiresInMs: 60 } : {}) };
}

const ends: readonly Case<TaskQueue>[] = Object.entries(unsuccessful).flatMap(([how, end]) => [
  prove(`a parent that was ${how} fails its dependent`, async (bench) => {
    const parent = await bench.add(parentOf(how));
    const child = await bench.add(on(parent));
    await end(bench, parent);
    const task = await bench.get(child);
    assert.deepEqual([task.state, task.attempt, task.run], ["failed", 0, 1]);
    const recorded = await bench.outcome(child);
    assert.deepEqual([recorded.status, recorded.attempt], ["failed", 0]);
    const error = JSON.parse(recorded.error ?? "{}") as QueueError;
    assert.deepEqual([error.code, error.taskId], ["OMNIQ_DEPENDENCY_FAILED", parent]);
    await bench.none();
  }),
  prove(`a parent that was ${how} frees a dependent that allows it`, async (bench) => {
    const parent = await bench.add(parentOf(how));
    const child = await bench.add(allowing(parent));
    await end(bench, parent);
    const lease = await bench.takeOne();
    assert.equal(lease.taskId, child);
    const [one] = lease.dependencies;
    const status =
      how === "expired"
        ? "expired"
        : how === "failed by its worker" || how === "dead by retry"
          ? "failed"
          : "cancelled";
    assert.deepEqual(
      [one?.taskId, one?.status, one?.error],
      [parent, status, status === "failed" ? "why" : one?.error],
    );
  }),
]);

const starts: readonly Case<TaskQueue>[] = [
  prove("a dependent is blocked until its parent completes, and gets the value", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    const blocked = await bench.get(child);
    assert.deepEqual([blocked.state, blocked.dependencies], ["blocked", [parent]]);
    const lease = await bench.takeOne(from);
    await bench.none();
    await bench.complete(lease, "the value");
    const got = await bench.takeOne();
    assert.equal(got.taskId, child);
    const { finishedAt, ...rest } = plain(got.dependencies[0]);
    assert.deepEqual(rest, { taskId: parent, run: 1, attempt: 1, status: "completed", value: "the value" });
    assert.equal(typeof finishedAt, "number");
    assert.deepEqual(got.task.dependencies, [parent]);
  }),
  prove("a value of a task whose result is not kept still reaches the dependents", async (bench) => {
    const parent = await bench.add({ ...parents, resultTtlMs: 0 });
    await bench.add(on(parent));
    await bench.add(on(parent));
    await bench.complete(await bench.takeOne(from), "v");
    assert.deepEqual(
      (await bench.take(2, { leaseMs: 60_000 })).map((lease) => lease.dependencies[0]?.value),
      ["v", "v"],
    );
  }),
  prove("a retry of the parent leaves the dependent blocked", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    await bench.retryLater(await bench.takeOne(from), 0);
    assert.equal(await bench.state(child), "blocked");
    await bench.release(await bench.takeOne(from));
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(await bench.takeOne(from));
    assert.equal((await bench.takeOne()).dependencies[0]?.attempt, 2);
  }),
  prove(
    "a dependent of several waits for all, in whatever order they end, and gets them in the order given",
    async (bench) => {
      const ids = [await bench.add(parents), await bench.add(parents), await bench.add(parents)];
      const [a, b, c] = ids as [string, string, string];
      const child = await bench.add(on(c, a, b));
      const leases = await bench.take(3, { ...from, leaseMs: 60_000 });
      for (const lease of [...leases].reverse()) {
        await bench.none();
        await bench.complete(lease, `of ${lease.taskId}`);
      }
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, child);
      assert.deepEqual(
        lease.dependencies.map((one) => [one.taskId, one.value]),
        [
          [c, `of ${c}`],
          [a, `of ${a}`],
          [b, `of ${b}`],
        ],
      );
    },
  ),
  prove("a chain runs in its order", async (bench) => {
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.push(await bench.add(index === 0 ? {} : on(ids[index - 1] as string)));
    for (const id of ids) {
      assert.equal((await bench.counts()).ready, 1);
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, id);
      await bench.complete(lease, id);
    }
  }),
  prove("a diamond starts its last task once", async (bench) => {
    const top = await bench.add();
    const sides = [await bench.add(on(top)), await bench.add(on(top))];
    const bottom = await bench.add(on(...sides));
    await bench.complete(await bench.takeOne());
    for (const lease of await bench.take(2, { leaseMs: 60_000 })) await bench.complete(lease);
    assert.deepEqual(await bench.takenIds(10), [bottom]);
  }),
  prove("tasks of one call may depend on each other, in whatever order they stand", async (bench) => {
    const parent = bench.task();
    const child = bench.task(on(parent.id));
    const grandchild = bench.task(on(child.id));
    await bench.receipts([grandchild, child, parent]);
    for (const task of [parent, child, grandchild]) {
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, task.id);
      await bench.complete(lease);
    }
  }),
  prove("a task with fifty parents starts when the last one completes", async (bench) => {
    const tasks = Array.from({ length: 50 }, () => bench.task(parents));
    await bench.receipts(tasks);
    const child = await bench.add(on(...tasks.map((task) => task.id)));
    const leases = await bench.take(50, { ...from, leaseMs: 60_000 });
    for (const lease of leases.slice(1)) await bench.complete(lease);
    await bench.none();
    await bench.complete(leases[0]!);
    assert.equal((await bench.takeOne()).taskId, child);
  }),
  prove("fifty dependents start when their parent completes", async (bench) => {
    const parent = await bench.add(parents);
    const tasks = Array.from({ length: 50 }, () => bench.task(on(parent)));
    await bench.receipts(tasks);
    await bench.complete(await bench.takeOne(from));
    assert.deepEqual(
      await bench.takenIds(60),
      tasks.map((task) => task.id),
    );
  }),
  prove("parents that complete in one batch of settlements free their dependent once", async (bench) => {
    const ids = [await bench.add(parents), await bench.add(parents)];
    const child = await bench.add(on(...ids));
    const leases = await bench.take(2, { ...from, leaseMs: 60_000 });
    await bench.queue.settle(
      leases.map(({ taskId, queue, token, run, attempt }) => ({
        taskId,
        queue,
        token,
        run,
        attempt,
        outcome: "completed",
        storeResult: false,
      })),
    );
    assert.deepEqual(await bench.takenIds(10), [child]);
  }),
  prove("a dependent whose time has not come when it is unblocked waits for it", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add({ ...on(parent), delayMs: 300 });
    await bench.complete(await bench.takeOne(from));
    assert.equal(await bench.state(child), "scheduled");
    await bench.none();
    await bench.pass(300 + marginMs);
    assert.equal((await bench.takeOne()).taskId, child);
  }),
  prove("a blocked task can be cancelled, and its parent's end changes nothing then", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    assert.equal(await bench.cancel(child), "cancelled");
    await bench.complete(await bench.takeOne(from));
    assert.equal(await bench.state(child), "cancelled");
    await bench.none();
  }),
  prove("a removed dependent is not missed by its parent", async (bench) => {
    const parent = await bench.add(parents);
    assert.equal(await bench.remove(await bench.add(on(parent))), "removed");
    await bench.complete(await bench.takeOne(from));
    await bench.none();
  }),
];

const failures: readonly Case<TaskQueue>[] = [
  prove("a failure runs down a chain as each outcome is recorded", async (bench) => {
    const top = await bench.add(parents);
    const middle = await bench.add(on(top));
    const bottom = await bench.add(on(middle));
    await bench.fail(await bench.takeOne(from));
    assert.deepEqual([await bench.state(middle), await bench.state(bottom)], ["failed", "blocked"]);
    await bench.record(middle);
    assert.equal(await bench.state(bottom), "failed");
    assert.equal((JSON.parse((await bench.outcome(bottom)).error ?? "{}") as QueueError).taskId, middle);
  }),
  prove("one failed parent among others fails the dependent, once all are over at the latest", async (bench) => {
    const ids = [await bench.add(parents), await bench.add(parents)];
    const child = await bench.add(on(...ids));
    const [one, two] = await bench.take(2, { ...from, leaseMs: 60_000 });
    await bench.fail(one!);
    await bench.complete(two!);
    assert.equal(await bench.state(child), "failed");
    assert.equal((await bench.queue.unrecorded(10)).length, 1);
  }),
  prove("each edge has its own word: one allows failure, the other does not", async (bench) => {
    const [a, b] = [await bench.add(parents), await bench.add(parents)];
    const child = await bench.add({
      dependencies: [
        { taskId: a, onFailure: "run" },
        { taskId: b, onFailure: "fail" },
      ],
    });
    const leases = await bench.take(2, { ...from, leaseMs: 60_000 });
    await bench.fail(leases[0]!);
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(leases[1]!, "v");
    const lease = await bench.takeOne();
    assert.deepEqual(
      lease.dependencies.map((one) => one.status),
      ["failed", "completed"],
    );
  }),
  prove("retrying the parent does not revive its dependents", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    await bench.fail(await bench.takeOne(from));
    await bench.record(child);
    await bench.retry(parent);
    await bench.complete(await bench.takeOne(from));
    assert.equal(await bench.state(child), "failed");
  }),
  prove("a dependent that is retried by hand runs with the outcomes it had", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    await bench.fail(await bench.takeOne(from), "why");
    await bench.record(child);
    assert.equal(await bench.retry(child), "retried");
    const lease = await bench.takeOne();
    assert.deepEqual([lease.run, lease.attempt], [2, 1]);
    assert.deepEqual(
      lease.dependencies.map((one) => [one.taskId, one.status, one.error]),
      [[parent, "failed", "why"]],
    );
  }),
  prove("outcomes are delivered again with every lease", async (bench) => {
    const parent = await bench.add(parents);
    await bench.add(on(parent));
    await bench.complete(await bench.takeOne(from), "v");
    await bench.retryLater(await bench.takeOne(), 0);
    assert.equal((await bench.takeOne()).dependencies[0]?.value, "v");
  }),
];

const given: readonly Case<TaskQueue>[] = [
  prove("a dependency with an outcome that completed lets the task start at once, with the outcome", async (bench) => {
    const child = await bench.add({ dependencies: [{ taskId: "over", onFailure: "fail", outcome: outcome() }] });
    const lease = await bench.takeOne();
    assert.equal(lease.taskId, child);
    assert.deepEqual(lease.dependencies.map(plain), [plain(outcome())]);
  }),
  ...(["failed", "cancelled", "expired"] as const).flatMap((status) => [
    prove(`a dependency with an outcome that is ${status} fails the task`, async (bench) => {
      const over = outcome({ status, value: undefined, error: "why" });
      const child = await bench.add({ dependencies: [{ taskId: "over", onFailure: "fail", outcome: over }] });
      assert.equal(await bench.state(child), "failed");
      assert.equal(
        (JSON.parse((await bench.outcome(child)).error ?? "{}") as QueueError).code,
        "OMNIQ_DEPENDENCY_FAILED",
      );
      await bench.none();
    }),
    prove(`a dependency with an outcome that is ${status} frees a task that allows it`, async (bench) => {
      const over = outcome({ status, value: undefined, error: "why" });
      await bench.add({ dependencies: [{ taskId: "over", onFailure: "run", outcome: over }] });
      assert.deepEqual((await bench.takeOne()).dependencies.map(plain), [plain(over)]);
    }),
  ]),
  prove("outcomes and live parents mix, and come in the order given", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add({
      dependencies: [
        { taskId: parent, onFailure: "fail" },
        { taskId: "over", onFailure: "fail", outcome: outcome() },
      ],
    });
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(await bench.takeOne(from), "live");
    assert.deepEqual(
      (await bench.takeOne()).dependencies.map((one) => one.value),
      ["live", "the value"],
    );
  }),
  prove("a purge fails the dependents of what it removes, and leaves them until they are recorded", async (bench) => {
    const parent = await bench.add();
    const fails = await bench.add(on(parent));
    const runs = await bench.add(allowing(parent));
    assert.equal(await bench.queue.purge("main", ["blocked", "ready"]), 2);
    assert.deepEqual(
      [await bench.state(parent), await bench.state(fails), await bench.state(runs)],
      ["gone", "failed", "gone"],
    );
    assert.equal((await bench.outcome(fails)).status, "failed");
    await bench.record(fails);
    assert.equal(await bench.queue.purge("main", ["failed"]), 1);
  }),
  prove("a task that has left the queue is unknown without an outcome", async (bench) => {
    const parent = await bench.add();
    await bench.complete(await bench.takeOne());
    assert.deepEqual(await bench.call([bench.task(on(parent))]), { state: "unknown-dependencies", taskIds: [parent] });
  }),
];

/** Dependencies. */
export const dependencyCases: readonly Case<TaskQueue>[] = [
  ...starts,
  ...ends,
  ...failures,
  ...retriedDependentCases,
  ...given,
];
