// Cases of `dependencies` about dead letters that are retried: they wait again for what is live, and run with the outcomes that stand.
import assert from "node:assert/strict";
import type { Dependency, DependencyOutcome, Lease, QueueError, RetryState, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, first, proves } from "./bench.ts";

const on = (...taskIds: readonly string[]): { dependencies: readonly Dependency[] } => ({
  dependencies: taskIds.map((taskId) => ({ taskId, onFailure: "fail" })),
});
const allowing = (...taskIds: readonly string[]): { dependencies: readonly Dependency[] } => ({
  dependencies: taskIds.map((taskId) => ({ taskId, onFailure: "run" })),
});
const parents = { queue: "parents" } as const;
const from = { queues: ["parents"] } as const;
const prove = (title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> =>
  proves("dependencies", title, run, ["dependencies", ...needs]);

/** A parent that failed, and its dependent, a dead letter because of that. */
async function deadPair(bench: Bench): Promise<{ readonly parent: string; readonly child: string }> {
  const parent = await bench.add(parents);
  const child = await bench.add(on(parent));
  await bench.fail(await bench.takeOne(from), "the first failure");
  await bench.record(child);
  assert.deepEqual([await bench.state(parent), await bench.state(child)], ["failed", "failed"]);
  return { parent, child };
}

/** Run, status and text of what a lease says of its dependencies. */
const told = (lease: Lease): readonly unknown[] =>
  lease.dependencies.map(({ taskId, run, status, value, error }) => [taskId, run, status, value ?? error ?? undefined]);

const completed = (taskId: string, run: number, value: string): DependencyOutcome => ({
  taskId,
  run,
  attempt: 1,
  status: "completed",
  value,
  finishedAt: 1_700_000_000_000,
});
const retryWith = async (bench: Bench, id: string, ...outcomes: readonly DependencyOutcome[]): Promise<RetryState> =>
  first(await bench.queue.retry([id], { outcomes }));

const waits: readonly Case<TaskQueue>[] = [
  ...(["before", "after"] as const).map((place) =>
    prove(
      `a dependent retried in one call ${place} its dependency waits for it, and gets its new value`,
      async (bench) => {
        const { parent, child } = await deadPair(bench);
        const ids = place === "before" ? [child, parent] : [parent, child];
        assert.deepEqual(await bench.queue.retry(ids), ["retried", "retried"]);
        const task = await bench.get(child);
        assert.deepEqual([task.state, task.run, task.attempt, task.finishedAt], ["blocked", 2, 0, undefined]);
        assert.equal((await bench.counts()).blocked, 1);
        await bench.none();
        await bench.complete(await bench.takeOne(from), "v2");
        const lease = await bench.takeOne();
        assert.deepEqual([lease.taskId, lease.run, lease.attempt], [child, 2, 1]);
        assert.deepEqual(told(lease), [[parent, 2, "completed", "v2"]]);
        await bench.complete(lease);
      },
    ),
  ),
  prove(
    "a dependency that was retried before and is still live is waited for: ready, active, waiting for its retry",
    async (bench) => {
      for (const state of ["ready", "active", "scheduled"] as const) {
        const { parent, child } = await deadPair(bench);
        assert.equal(await bench.retry(parent), "retried");
        let lease: Lease | undefined;
        if (state !== "ready") lease = await bench.takeOne(from);
        if (state === "scheduled" && lease !== undefined) await bench.retryLater(lease, 0);
        assert.equal(await bench.retry(child), "retried");
        assert.equal(await bench.state(child), "blocked", `while its dependency is ${state}`);
        await bench.complete(state === "active" && lease !== undefined ? lease : await bench.takeOne(from), state);
        const got = await bench.takeOne();
        assert.deepEqual(told(got), [[parent, 2, "completed", state]]);
        await bench.complete(got);
      }
    },
  ),
  prove("a dependency that fails again makes its dependent a dead letter again", async (bench) => {
    const { parent, child } = await deadPair(bench);
    await bench.queue.retry([child, parent]);
    await bench.fail(await bench.takeOne(from), "the second failure");
    const task = await bench.get(child);
    assert.deepEqual([task.state, task.run, task.attempt], ["failed", 2, 0]);
    const outcome = await bench.outcome(child);
    const error = JSON.parse(outcome.error ?? "{}") as QueueError;
    assert.deepEqual([outcome.run, error.code, error.taskId], [2, "OMNIQ_DEPENDENCY_FAILED", parent]);
    await bench.none();
    await bench.record(child, 2);
    assert.deepEqual(await bench.queue.retry([parent, child]), ["retried", "retried"]);
    await bench.complete(await bench.takeOne(from), "v3");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 3, "completed", "v3"]]);
  }),
  prove("a dependency that fails again frees a dependent that allows it, with the new failure", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(allowing(parent));
    await bench.fail(await bench.takeOne(from), "the first failure");
    await bench.fail(await bench.takeOne());
    assert.deepEqual(await bench.queue.retry([child, parent]), ["retried", "retried"]);
    assert.equal(await bench.state(child), "blocked");
    await bench.fail(await bench.takeOne(from), "the second failure");
    const lease = await bench.takeOne();
    assert.equal(lease.taskId, child);
    assert.deepEqual(told(lease), [[parent, 2, "failed", "the second failure"]]);
  }),
  ...(["removed", "cancelled"] as const).map((how) =>
    prove(
      `a dependency that is ${how} while it is waited for again makes its dependent a dead letter`,
      async (bench) => {
        const { parent, child } = await deadPair(bench);
        await bench.queue.retry([parent, child]);
        if (how === "removed") assert.equal(await bench.remove(parent), "removed");
        else {
          assert.equal(await bench.cancel(parent), "cancelled");
          await bench.record(parent, 2);
        }
        assert.equal(await bench.state(child), "failed");
        assert.equal((await bench.outcome(child)).run, 2);
      },
    ),
  ),
  prove("a chain that is retried in one call runs in its order, whatever the order of the ids", async (bench) => {
    const top = await bench.add();
    const middle = await bench.add(on(top));
    const bottom = await bench.add(on(middle));
    await bench.fail(await bench.takeOne());
    await bench.record(middle);
    await bench.record(bottom);
    assert.deepEqual(await bench.queue.retry([bottom, top, middle]), ["retried", "retried", "retried"]);
    for (const [id, before] of [[top], [middle, top], [bottom, middle]]) {
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, id);
      assert.deepEqual(told(lease), before === undefined ? [] : [[before, 2, "completed", `of ${before}`]]);
      await bench.complete(lease, `of ${lease.taskId}`);
    }
  }),
  prove(
    "of two dependencies the dead one that is not retried counts as over, the other is waited for",
    async (bench) => {
      const [a, b] = [await bench.add(parents), await bench.add(parents)];
      const child = await bench.add(on(a, b));
      for (const lease of await bench.take(2, { ...from, leaseMs: 60_000 }))
        await bench.fail(lease, `of ${lease.taskId}`);
      await bench.record(child);
      assert.deepEqual(await bench.queue.retry([child, b]), ["retried", "retried"]);
      assert.equal(await bench.state(child), "blocked");
      await bench.complete(await bench.takeOne(from), "v2");
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, child);
      assert.deepEqual(told(lease), [
        [a, 1, "failed", `of ${a}`],
        [b, 2, "completed", "v2"],
      ]);
    },
  ),
  prove("two dependents of a dependency that is retried with them both wait for it", async (bench) => {
    const parent = await bench.add(parents);
    const children = [await bench.add(on(parent)), await bench.add(on(parent))];
    await bench.fail(await bench.takeOne(from));
    for (const child of children) await bench.record(child);
    await bench.queue.retry([children[0] as string, parent, children[1] as string]);
    await bench.none();
    await bench.complete(await bench.takeOne(from), "v2");
    assert.deepEqual([...(await bench.takenIds(10))].sort(), [...children].sort());
  }),
  prove(
    "a dependency whose retry is refused counts as over: its dependent is ready",
    async (bench) => {
      const deduplicate = { key: "k", mode: "keep" } as const;
      const parent = await bench.add({ ...parents, deduplicate });
      const child = await bench.add(on(parent));
      await bench.fail(await bench.takeOne(from), "why");
      await bench.record(child);
      await bench.add({ ...parents, deduplicate });
      assert.deepEqual(await bench.queue.retry([child, parent]), ["retried", "conflict"]);
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, child);
      assert.deepEqual(told(lease), [[parent, 1, "failed", "why"]]);
    },
    ["deduplication"],
  ),
  prove("retries of dependency and dependent that race on two connections end with both run", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    for (let round = 0; round < 5; round++) {
      const { parent, child } = await deadPair(bench);
      assert.deepEqual(await Promise.all([bench.retry(parent), bench.on(other).retry(child)]), ["retried", "retried"]);
      const blocked = (await bench.state(child)) === "blocked";
      await bench.complete(await bench.takeOne(from), "v2");
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, child);
      if (blocked) assert.deepEqual(told(lease), [[parent, 2, "completed", "v2"]]);
      await bench.complete(lease);
    }
  }),
  prove(
    "a dependent that waits again can be cancelled, and its dependency's end changes nothing then",
    async (bench) => {
      const { parent, child } = await deadPair(bench);
      await bench.queue.retry([parent, child]);
      assert.equal(await bench.cancel(child), "cancelled");
      assert.equal((await bench.outcome(child)).run, 2);
      await bench.complete(await bench.takeOne(from));
      assert.equal(await bench.state(child), "cancelled");
      await bench.none();
      await bench.record(child, 2);
      assert.equal(await bench.state(child), "gone");
    },
  ),
];

const given: readonly Case<TaskQueue>[] = [
  prove(
    "a dependency was retried and completed before: the dependent runs with the outcome that the call gives",
    async (bench) => {
      const { parent, child } = await deadPair(bench);
      await bench.retry(parent);
      await bench.complete(await bench.takeOne(from), "v2");
      assert.equal(await bench.state(parent), "gone");
      assert.equal(await retryWith(bench, child, completed(parent, 2, "v2")), "retried");
      for (let attempt = 1; attempt <= 2; attempt++) {
        const lease = await bench.takeOne();
        assert.deepEqual([lease.taskId, lease.attempt], [child, attempt]);
        assert.deepEqual(told(lease), [[parent, 2, "completed", "v2"]]);
        if (attempt === 1) await bench.retryLater(lease, 0);
      }
    },
  ),
  prove("without an outcome given a dependent keeps what it had", async (bench) => {
    const { parent, child } = await deadPair(bench);
    assert.equal(await bench.retry(child), "retried");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 1, "failed", "the first failure"]]);
  }),
  prove("an outcome of the run that it has, or of a lower one, replaces nothing", async (bench) => {
    const { parent, child } = await deadPair(bench);
    await bench.retry(parent);
    await bench.complete(await bench.takeOne(from), "v2");
    await retryWith(bench, child, completed(parent, 2, "v2"));
    await bench.fail(await bench.takeOne());
    assert.equal(await retryWith(bench, child, completed(parent, 2, "other"), completed(parent, 1, "old")), "retried");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 2, "completed", "v2"]]);
  }),
  prove("an outcome of a higher run replaces it, and of two the highest counts", async (bench) => {
    const { parent, child } = await deadPair(bench);
    const outcomes = [completed(parent, 2, "v2"), completed(parent, 4, "v4"), completed(parent, 3, "v3")];
    assert.equal(await retryWith(bench, child, ...outcomes), "retried");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 4, "completed", "v4"]]);
  }),
  prove("outcomes of tasks that it does not depend on are not taken", async (bench) => {
    const { parent, child } = await deadPair(bench);
    assert.equal(
      await retryWith(bench, child, completed("nobody", 2, "of nobody"), completed(child, 9, "own")),
      "retried",
    );
    const lease = await bench.takeOne();
    assert.deepEqual(told(lease), [[parent, 1, "failed", "the first failure"]]);
    assert.deepEqual(lease.task.dependencies, [parent]);
  }),
  prove("the outcomes of one call go to each of its tasks", async (bench) => {
    const parent = await bench.add(parents);
    const children = [await bench.add(on(parent)), await bench.add(on(parent))];
    await bench.fail(await bench.takeOne(from));
    for (const child of children) await bench.record(child);
    await bench.retry(parent);
    await bench.complete(await bench.takeOne(from), "v2");
    await bench.queue.retry(children, { outcomes: [completed(parent, 2, "v2")] });
    const leases = await bench.take(10, { leaseMs: 60_000 });
    assert.deepEqual(leases.map(told), [[[parent, 2, "completed", "v2"]], [[parent, 2, "completed", "v2"]]]);
  }),
  prove("a dependency that is live is waited for, whatever outcome the call gives", async (bench) => {
    const { parent, child } = await deadPair(bench);
    assert.deepEqual(await bench.queue.retry([child, parent], { outcomes: [completed(parent, 1, "old")] }), [
      "retried",
      "retried",
    ]);
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(await bench.takeOne(from), "v2");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 2, "completed", "v2"]]);
  }),
  prove("an outcome given for one dependency leaves the wait for another as it is", async (bench) => {
    const [a, b] = [await bench.add(parents), await bench.add(parents)];
    const child = await bench.add(on(a, b));
    for (const lease of await bench.take(2, { ...from, leaseMs: 60_000 })) await bench.fail(lease);
    await bench.record(child);
    await bench.retry(a);
    await bench.complete(await bench.takeOne(from), "a2");
    assert.deepEqual(await bench.queue.retry([child, b], { outcomes: [completed(a, 2, "a2")] }), [
      "retried",
      "retried",
    ]);
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(await bench.takeOne(from), "b2");
    assert.deepEqual(told(await bench.takeOne()), [
      [a, 2, "completed", "a2"],
      [b, 2, "completed", "b2"],
    ]);
  }),
  prove("outcomes given to tasks that are not retried change nothing of them", async (bench) => {
    const parent = await bench.add(parents);
    const child = await bench.add(on(parent));
    assert.equal(await retryWith(bench, child, completed(parent, 9, "forged")), "unknown");
    assert.equal(await bench.state(child), "blocked");
    await bench.complete(await bench.takeOne(from), "v");
    assert.deepEqual(told(await bench.takeOne()), [[parent, 1, "completed", "v"]]);
  }),
];

/** Dependents that are retried. */
export const retriedDependentCases: readonly Case<TaskQueue>[] = [...waits, ...given];
