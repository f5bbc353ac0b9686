// Cases of `damaged-item` for tasks: what is stored of one cannot be read; it is set aside, seen and removed, and all others go on.
import assert from "node:assert/strict";
import type { BackendReport, QueueError, StoredTask, TaskQueue, TaskQueueCapabilities } from "@omniq/core";
import type { AnyBackend, Case, DamageKind, World } from "../suite.ts";
import { Bench, type Feature, lacking, reference } from "../task-queue/bench.ts";
import { situations } from "../task-queue/states.ts";
import { settleDown } from "./waiting.ts";

const rule = "damaged-item";
/** Stands in payloads and values: no report and no error may show it. */
export const secret = "text that only its owner reads";

export const unlessDamages = (world: World): string | undefined =>
  world.damage === undefined ? "this adapter's test can not damage what is stored" : undefined;

/** The code in an error text that the queue or a storage wrote. */
export function codeOf(error: string | undefined): string | undefined {
  return error === undefined ? undefined : (JSON.parse(error) as QueueError).code;
}

/** A namespace after damage: opened again, with what the backend reports. */
export interface Damaged {
  readonly backend: AnyBackend;
  readonly reports: readonly BackendReport[];
}

export async function damage(world: World, kind: DamageKind, ...ids: readonly string[]): Promise<Damaged> {
  const backend = await world.damage?.(kind, ids);
  assert.ok(backend);
  const reports: BackendReport[] = [];
  backend.onReport?.((report) => reports.push(report));
  return { backend, reports };
}

/** Reports of level `error`, those that name this id if one is given. None may show what is stored. */
export function reportsOf(reports: readonly BackendReport[], id?: string): readonly BackendReport[] {
  for (const report of reports) assert.ok(!JSON.stringify(report).includes(secret), "a report shows what is stored");
  return reports.filter(
    ({ level, fields }) => level === "error" && (id === undefined || Object.values(fields ?? {}).includes(id)),
  );
}

/** Waits, in real time, until the backend has reported this id, or anything. */
export async function reported({ reports }: Damaged, id?: string): Promise<void> {
  for (let tries = 0; tries < 50 && reportsOf(reports, id).length === 0; tries++) await settleDown(50);
  assert.ok(reportsOf(reports, id).length > 0, `the backend reports ${id ?? "it"}: ${JSON.stringify(reports)}`);
}

interface DamagedTask extends Damaged {
  readonly bench: Bench;
}

/** The bench on the namespace after these tasks were damaged. */
async function damageTasks(bench: Bench, ...ids: readonly string[]): Promise<DamagedTask> {
  const damaged = await damage(bench.world, "task", ...ids);
  const queue = damaged.backend.taskQueue?.();
  assert.ok(queue);
  return { ...damaged, bench: bench.on(queue) };
}

/** The dead letter that a damaged task has become, once `reserve`, `sweep` and `get` came by. */
async function deadLetter(bench: Bench, id: string): Promise<StoredTask> {
  let task: StoredTask | undefined;
  // A queue may look at some of its tasks each time.
  for (let tries = 0; tries < 50; tries++) {
    await bench.none({ queues: ["main"], limit: 1 });
    await bench.queue.sweep(100);
    task = await bench.find(id);
    if (task?.state === "failed" && codeOf(task.error) === "OMNIQ_ITEM_DAMAGED") return task;
    await bench.pass(20);
  }
  return assert.fail(`${id} is no dead letter with OMNIQ_ITEM_DAMAGED: ${JSON.stringify(task)}`);
}

function prove(title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> {
  return {
    rule,
    title,
    unless: (world, queue) => unlessDamages(world) ?? lacking(queue.capabilities as TaskQueueCapabilities, needs),
    run: (queue, world) => run(new Bench(queue, world)),
  };
}

/** Ten tasks of `main`, in order. */
async function ten(bench: Bench): Promise<readonly string[]> {
  const tasks = Array.from({ length: 10 }, () => bench.task({ payload: `"${secret}"`, envelope: `{"h":"${secret}"}` }));
  await bench.receipts(tasks);
  return tasks.map((task) => task.id);
}

const among: readonly Case<TaskQueue>[] = [
  ...[0, 4, 9].map((index) =>
    prove(`of ten tasks number ${index + 1} is damaged: the others are given in order, and settled`, async (before) => {
      const ids = await ten(before);
      const bad = ids[index] as string;
      const { bench } = await damageTasks(before, bad);
      const taken: string[] = [];
      for (let tries = 0; tries < 50 && taken.length < 9; tries++) {
        const leases = await bench.take(4, { leaseMs: 60_000 });
        for (const lease of leases) {
          assert.equal(lease.task.payload, `"${secret}"`);
          await bench.complete(lease);
          taken.push(lease.taskId);
        }
      }
      assert.deepEqual(
        taken,
        ids.filter((id) => id !== bad),
      );
      const task = await deadLetter(bench, bad);
      assert.ok(task.finishedAt !== undefined && task.attempt >= 0 && task.run >= 1);
      assert.deepEqual([typeof task.payload, typeof task.envelope, typeof task.name], ["string", "string", "string"]);
      await bench.none();
    }),
  ),
  prove("it is listed, counted, and its outcome is recorded", async (before) => {
    const [bad] = await ten(before);
    assert.ok(bad !== undefined);
    const { bench } = await damageTasks(before, bad);
    assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 9);
    const task = await deadLetter(bench, bad);
    const all = (await bench.queue.list({}, { limit: 100 })).items;
    assert.equal(all.length, 10);
    assert.deepEqual(
      (await bench.queue.list({ states: ["failed"] }, {})).items.map((one) => [one.id, codeOf(one.error)]),
      [[bad, "OMNIQ_ITEM_DAMAGED"]],
    );
    assert.deepEqual(
      (await bench.queue.list({ queue: task.queue, states: ["failed"] }, {})).items.map((one) => one.id),
      [bad],
    );
    const counts = await bench.queue.counts();
    assert.equal(counts["main"]?.active, 9);
    assert.equal(counts["main"]?.ready, 0);
    assert.equal(counts[task.queue]?.failed, 1);
    assert.equal(counts[task.queue]?.unrecorded, 0);
    assert.deepEqual(await bench.queue.unrecorded(100), []);
  }),
  prove("whoever looks before anybody reserves is answered: get, list, counts, unrecorded, sweep", async (before) => {
    const ids = await ten(before);
    const { bench } = await damageTasks(before, ids[3] as string);
    const found = await bench.queue.get(ids);
    assert.deepEqual(
      found.map((task) => task?.id),
      ids,
    );
    assert.deepEqual(
      found.filter((task) => task?.payload === `"${secret}"`).map((task) => task?.id),
      ids.filter((_id, index) => index !== 3),
    );
    assert.deepEqual(
      (await bench.queue.list({}, { limit: 4 })).items.map((task) => task.id),
      ids.slice(0, 4),
    );
    const { failed, ready } = await bench.counts();
    assert.equal(failed + ready, 10);
    await bench.queue.unrecorded(10);
    await bench.queue.sweep(100);
    assert.equal((await bench.take(10)).length, 9);
  }),
  prove("it is not retried, not cancelled, and stays as it is; removed, its id is free", async (before) => {
    const id = await before.add({ payload: secret });
    const { bench } = await damageTasks(before, id);
    const task = await deadLetter(bench, id);
    assert.equal(await bench.retry(id), "unknown");
    assert.equal(await bench.cancel(id), "unknown");
    await bench.record(id);
    await bench.queue.sweep(100);
    await bench.none();
    assert.deepEqual(await bench.get(id), task);
    assert.deepEqual((await bench.receipt(bench.task({ id }))).state, "duplicate");
    assert.equal(await bench.remove(id), "removed");
    assert.equal(await bench.state(id), "gone");
    assert.equal((await bench.queue.counts([task.queue]))[task.queue]?.failed, 0);
    assert.deepEqual(await bench.receipt(bench.task({ id, payload: "again" })), { id, state: "enqueued" });
    const lease = await bench.takeOne();
    assert.deepEqual([lease.taskId, lease.task.payload], [id, "again"]);
    await bench.complete(lease);
  }),
  prove("removed before anybody noticed, its id is free", async (before) => {
    const id = await before.add();
    const { bench } = await damageTasks(before, id);
    assert.equal(await bench.remove(id), "removed");
    assert.equal(await bench.state(id), "gone");
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "enqueued" });
    assert.equal((await bench.takeOne()).taskId, id);
  }),
  prove("purge removes it among the dead letters of its queue", async (before) => {
    const ids = await ten(before);
    const { bench } = await damageTasks(before, ids[0] as string, ids[9] as string);
    assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 8);
    const { queue } = await deadLetter(bench, ids[0] as string);
    await deadLetter(bench, ids[9] as string);
    assert.equal(await bench.queue.purge(queue, ["failed"]), 2);
    assert.deepEqual(await bench.queue.get([ids[0] as string, ids[9] as string]), [undefined, undefined]);
  }),
  prove("the backend reports it once, by its id, without what is stored", async (before) => {
    const ids = await ten(before);
    const damaged = await damageTasks(before, ids[5] as string);
    const { bench, backend, reports } = damaged;
    assert.ok(backend.onReport, "a backend that can meet damaged items has onReport");
    assert.equal((await bench.take(10, { leaseMs: 60_000 })).length, 9);
    await deadLetter(bench, ids[5] as string);
    await reported(damaged, ids[5] as string);
    for (let round = 0; round < 3; round++) {
      await bench.queue.list({}, {});
      await bench.queue.get(ids);
      await bench.none();
      await bench.queue.sweep(10);
    }
    assert.equal(reportsOf(reports, ids[5] as string).length, 1, "once");
    for (const id of ids.filter((_id, index) => index !== 5)) assert.equal(reportsOf(reports, id).length, 0);
  }),
  prove("fifty damaged tasks before one good one: that one is given", async (before) => {
    const tasks = Array.from({ length: 50 }, () => before.task());
    await before.receipts(tasks);
    const good = await before.add();
    const { bench } = await damageTasks(before, ...tasks.map((task) => task.id));
    const lease = await bench.takeOne({ waitMs: 5_000 });
    assert.equal(lease.taskId, good);
    await bench.complete(lease);
  }),
];

const inEveryState: readonly Case<TaskQueue>[] = situations
  .filter((one) => one.state !== undefined)
  .map((one) =>
    prove(
      `a task that is ${one.name} and damaged becomes a dead letter that can be removed; its neighbours go on`,
      async (before) => {
        const bad = await one.reach(before);
        const good = await before.add({ queue: "main" });
        const cancelled = await before.add({ queue: "other" });
        await before.cancel(cancelled);
        const { bench } = await damageTasks(before, bad);
        const lease = await bench.takeOne({ waitMs: 5_000 });
        assert.equal(lease.taskId, good);
        await bench.complete(lease);
        assert.ok((await bench.queue.unrecorded(10)).some((outcome) => outcome.taskId === cancelled));
        await bench.record(cancelled);
        assert.equal(await bench.state(cancelled), "gone");
        const task = await deadLetter(bench, bad);
        assert.ok(!(await bench.queue.unrecorded(10)).some((outcome) => outcome.taskId === bad), "recorded");
        assert.equal((await bench.queue.counts([task.queue]))[task.queue]?.failed, 1);
        assert.equal(await bench.retry(bad), "unknown");
        assert.equal(await bench.remove(bad), "removed");
        assert.equal(await bench.state(bad), "gone");
        const { blocked, scheduled, ready, active, failed, unrecorded } = await bench.counts();
        assert.deepEqual([blocked, scheduled, ready, active, failed, unrecorded], [0, 0, 0, 0, 0, 0]);
      },
      one.needs,
    ),
  );

const held: readonly Case<TaskQueue>[] = [
  prove("the lease of a damaged task among others: the others are extended and settled", async (before) => {
    const ids = [await before.add(), await before.add(), await before.add()];
    const leases = await before.take(3, { leaseMs: 60_000 });
    const { bench } = await damageTasks(before, ids[1] as string);
    const extended = await bench.queue.extend(leases.map(reference), 60_000);
    assert.deepEqual([extended[0]?.state, extended[2]?.state], ["held", "held"]);
    const states = await bench.queue.settle(
      leases.map((lease) => ({ ...reference(lease), outcome: "completed", storeResult: false, value: "v" })),
    );
    assert.deepEqual([states[0], states[2]], ["settled", "settled"]);
    assert.deepEqual([await bench.state(ids[0] as string), await bench.state(ids[2] as string)], ["gone", "gone"]);
    await bench.none();
  }),
  prove(
    "it takes no slot of its group",
    async (before) => {
      const group = { key: "g", limit: 1 };
      const bad = await before.add({ group });
      const good = await before.add({ group });
      await before.takeOne();
      const { bench } = await damageTasks(before, bad);
      await deadLetterUnless(bench, bad, good);
    },
    ["groups"],
  ),
  prove(
    "it does not count as active of its queue",
    async (before) => {
      await before.queue.configureQueue("main", { maxActive: 1 });
      const bad = await before.add();
      const good = await before.add();
      await before.takeOne();
      const { bench } = await damageTasks(before, bad);
      await deadLetterUnless(bench, bad, good);
    },
    ["queueLimits"],
  ),
  prove(
    "its deduplication key is free",
    async (before) => {
      const deduplicate = { key: "k", mode: "keep" } as const;
      const bad = await before.add({ deduplicate });
      const { bench } = await damageTasks(before, bad);
      await deadLetter(bench, bad);
      const next = bench.task({ deduplicate });
      assert.deepEqual(await bench.receipt(next), { id: next.id, state: "enqueued" });
    },
    ["deduplication"],
  ),
  prove(
    "dependents of a damaged task are not held back: it did not complete",
    async (before) => {
      const bad = await before.add({ queue: "parents" });
      const fails = await before.add({ dependencies: [{ taskId: bad, onFailure: "fail" }] });
      const runs = await before.add({ dependencies: [{ taskId: bad, onFailure: "run" }] });
      const { bench } = await damageTasks(before, bad);
      await bench.none({ queues: ["parents"] });
      assert.equal((await bench.get(bad)).state, "failed");
      const lease = await bench.takeOne({ waitMs: 5_000 });
      assert.equal(lease.taskId, runs);
      const [outcome] = lease.dependencies;
      assert.deepEqual([outcome?.taskId, outcome?.status], [bad, "failed"]);
      assert.equal(codeOf(outcome?.error), "OMNIQ_ITEM_DAMAGED");
      assert.equal((await bench.get(fails)).state, "failed");
      assert.equal(codeOf((await bench.outcome(fails)).error), "OMNIQ_DEPENDENCY_FAILED");
    },
    ["dependencies"],
  ),
  prove(
    "a damaged dependent does not keep what it depends on from its end",
    async (before) => {
      const parent = await before.add({ queue: "parents" });
      const bad = await before.add({ dependencies: [{ taskId: parent, onFailure: "run" }] });
      const good = await before.add({ dependencies: [{ taskId: parent, onFailure: "run" }] });
      const { bench } = await damageTasks(before, bad);
      await bench.complete(await bench.takeOne({ queues: ["parents"] }), "v");
      const lease = await bench.takeOne({ waitMs: 5_000 });
      assert.deepEqual([lease.taskId, lease.dependencies[0]?.value], [good, "v"]);
      await bench.complete(lease);
      await deadLetter(bench, bad);
    },
    ["dependencies"],
  ),
];

/** The good task is given once the damaged one is a dead letter. */
async function deadLetterUnless(bench: Bench, bad: string, good: string): Promise<void> {
  let taken: readonly string[] = [];
  for (let tries = 0; tries < 50 && taken.length === 0; tries++) {
    await bench.queue.sweep(100);
    await bench.find(bad);
    taken = await bench.takenIds(10);
  }
  assert.deepEqual(taken, [good]);
  assert.equal((await bench.get(bad)).state, "failed");
}

/** Damaged tasks. */
export const damagedTaskCases: readonly Case<TaskQueue>[] = [...among, ...inEveryState, ...held];
