// Cases of outcomes: those that the queue decides itself, results and events in the same step, and the joined verb.
import assert from "node:assert/strict";
import type { EventStorage, Lease, NewEvent, ResultStorage, Settlement, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

/** Whether each verb that looks shows the task as expired: get, list, counts, unrecorded. */
async function expiredBy(bench: Bench, id: string): Promise<readonly boolean[]> {
  const listed = await bench.queue.list({ states: ["expired"] }, {});
  return [
    (await bench.state(id)) === "expired",
    listed.items.some((task) => task.id === id),
    (await bench.counts()).unrecorded === 1,
    (await bench.queue.unrecorded(10)).some((one) => one.taskId === id),
  ];
}

const unrecorded: readonly Case<TaskQueue>[] = [
  proves("outcome-recorded", "all verbs that look agree on a late task, decided or not", async (bench) => {
    const id = await bench.add({ expiresInMs: 60 });
    await bench.pass(60 + marginMs);
    // A queue may decide at any verb; the second look is of one moment.
    await expiredBy(bench, id);
    const seen = await expiredBy(bench, id);
    assert.ok(new Set(seen).size === 1, `get, list, counts, unrecorded show it as expired: ${seen.join(", ")}`);
    await bench.queue.sweep(100);
    assert.deepEqual(await expiredBy(bench, id), [true, true, true, true]);
    await bench.record(id);
    assert.equal(await bench.state(id), "gone");
  }),
  proves("outcome-recorded", "an outcome that the queue decided has all that a result needs", async (bench) => {
    const id = await bench.add({ name: "n", resultTtlMs: 1_234 });
    await bench.cancel(id);
    const { finishedAt, error: _error, ...outcome } = await bench.outcome(id);
    assert.deepEqual(outcome, {
      taskId: id,
      run: 1,
      attempt: 0,
      name: "n",
      queue: "main",
      status: "cancelled",
      resultTtlMs: 1_234,
    });
    assert.equal(finishedAt, (await bench.get(id)).finishedAt);
  }),
  proves(
    "outcome-recorded",
    "outcomes come oldest first, at most limit, the same again until recorded",
    async (bench) => {
      const ids = [];
      for (let index = 0; index < 5; index++) {
        ids.push(await bench.add());
        await bench.cancel(ids[index] as string);
        await bench.pass(2);
      }
      const ask = async (limit: number): Promise<readonly string[]> =>
        (await bench.queue.unrecorded(limit)).map((one) => one.taskId);
      assert.deepEqual(await ask(2), ids.slice(0, 2));
      assert.deepEqual(await ask(2), ids.slice(0, 2));
      assert.deepEqual(await ask(100), ids);
      await bench.queue.record(ids.slice(0, 3).map((taskId) => ({ taskId, run: 1 })));
      assert.deepEqual(await ask(100), ids.slice(3));
    },
  ),
  proves("outcome-recorded", "every connection sees and records the same outcomes", async (bench) => {
    const id = await bench.add();
    await bench.cancel(id);
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    assert.deepEqual(
      (await other.unrecorded(10)).map((one) => one.taskId),
      [id],
    );
    await other.record([{ taskId: id, run: 1 }]);
    assert.equal(await bench.state(id), "gone");
  }),
  ...(["completed", "failed", "cancelled"] as const).map((outcome) =>
    proves("outcome-recorded", `an outcome that a worker settled is recorded already: ${outcome}`, async (bench) => {
      await bench.add();
      assert.equal(
        await bench.settle({ ...reference(await bench.takeOne()), outcome, storeResult: false, error: "{}" }),
        "settled",
      );
      assert.deepEqual(await bench.queue.unrecorded(10), []);
    }),
  ),
  proves("outcome-recorded", "outcomes of two runs of a task are each recorded for themselves", async (bench) => {
    const id = await bench.add({ maxAttempts: 1 });
    await bench.retryLater(await bench.takeOne(), 0);
    await bench.record(id);
    await bench.retry(id);
    await bench.retryLater(await bench.takeOne(), 0);
    assert.equal((await bench.outcome(id)).run, 2);
    await bench.record(id, 1);
    assert.equal((await bench.outcome(id)).run, 2);
    await bench.record(id, 2);
    assert.deepEqual(await bench.queue.unrecorded(10), []);
    assert.equal(await bench.state(id), "failed");
  }),
  proves("outcome-recorded", "records of unknown tasks change nothing", async (bench) => {
    await bench.queue.record([{ taskId: "nobody", run: 1 }]);
    assert.deepEqual(await bench.queue.unrecorded(10), []);
  }),
  proves(
    "outcome-recorded",
    "a dead letter that waits for record holds no key, and its record does not take the key from who has it",
    async (bench) => {
      const deduplicate = { key: "k", mode: "keep" } as const;
      const id = await bench.add({ maxAttempts: 1, deduplicate });
      await bench.retryLater(await bench.takeOne(), 0);
      const next = await bench.add({ deduplicate });
      await bench.record(id);
      assert.deepEqual(await bench.receipt(bench.task({ deduplicate })), { id: next, state: "deduplicated" });
      assert.equal(await bench.retry(id), "conflict");
    },
    ["deduplication"],
  ),
  proves(
    "outcome-recorded",
    "dependents wait for record",
    async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      const child = await bench.add({ dependencies: [{ taskId: parent, onFailure: "run" }] });
      await bench.cancel(parent);
      assert.equal(await bench.state(child), "blocked");
      await bench.record(parent);
      assert.equal((await bench.takeOne()).taskId, child);
    },
    ["dependencies"],
  ),
];

function resultsOf(bench: Bench): ResultStorage {
  const storage = bench.world.backend.resultStorage?.();
  assert.ok(storage);
  assert.equal(storage.backend, bench.queue.backend, "components of one backend can settle together");
  return storage;
}

const withResults = (title: string, run: (bench: Bench, results: ResultStorage) => Promise<void>): Case<TaskQueue> => ({
  ...proves("outcome-recorded", title, (bench) => run(bench, resultsOf(bench))),
  unless: (world) => (world.backend.resultStorage === undefined ? "the backend has no result storage" : undefined),
});

const results: readonly Case<TaskQueue>[] = [
  ...(
    [
      ["completed", { value: "the value" }],
      ["failed", { error: "the error" }],
      ["cancelled", { error: "the reason" }],
    ] as const
  ).map(([outcome, texts]) =>
    withResults(`storeResult stores what was ${outcome} with the settlement`, async (bench, storage) => {
      const id = await bench.add({ resultTtlMs: 60_000, name: "n" });
      const lease = await bench.takeOne();
      assert.equal(await bench.settle({ ...reference(lease), outcome, storeResult: true, ...texts }), "settled");
      const [result] = await storage.get([id]);
      assert.ok(result);
      const { taskId, run, attempt, name, queue, status, value, error, finishedAt, expiresAt } = result;
      assert.deepEqual(
        { taskId, run, attempt, name, queue, status },
        { taskId: id, run: 1, attempt: 1, name: "n", queue: "main", status: outcome },
      );
      assert.deepEqual(
        [value ?? undefined, error ?? undefined],
        outcome === "completed" ? ["the value", undefined] : [undefined, texts.error],
      );
      assert.equal(expiresAt, finishedAt + 60_000);
    }),
  ),
  withResults(
    "storeResult keeps a result for ever with a time to live of null, and stores none with 0",
    async (bench, storage) => {
      const ids = [await bench.add({ resultTtlMs: null }), await bench.add({ resultTtlMs: 0 })];
      for (const lease of await bench.take(2, { leaseMs: 60_000 })) {
        assert.equal(
          await bench.settle({ ...reference(lease), outcome: "completed", storeResult: true, value: "v" }),
          "settled",
        );
      }
      const [kept, none] = await storage.get(ids);
      assert.equal(kept?.expiresAt, null);
      assert.equal(none, undefined);
    },
  ),
  withResults("without storeResult no result is stored", async (bench, storage) => {
    const id = await bench.add();
    await bench.complete(await bench.takeOne(), "v");
    assert.deepEqual(await storage.get([id]), [undefined]);
  }),
  withResults("a settlement that is lost stores no result", async (bench, storage) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    const foreign: Settlement = {
      ...reference(lease),
      token: "no",
      outcome: "completed",
      storeResult: true,
      value: "v",
    };
    assert.equal(await bench.settle(foreign), "lost");
    assert.deepEqual(await storage.get([id]), [undefined]);
  }),
  withResults(
    "a result of a retried dead letter takes the place of the one before, in the list too",
    async (bench, storage) => {
      const id = await bench.add();
      const failed = reference(await bench.takeOne());
      assert.equal(await bench.settle({ ...failed, outcome: "failed", storeResult: true, error: "{}" }), "settled");
      await bench.retry(id);
      const completed = reference(await bench.takeOne());
      assert.equal(
        await bench.settle({ ...completed, outcome: "completed", storeResult: true, value: "v" }),
        "settled",
      );
      const seen = ({ run, status }: { readonly run: number; readonly status: string }): string => `${run} ${status}`;
      assert.deepEqual((await storage.list({}, {})).items.map(seen), ["2 completed"]);
      assert.deepEqual(
        (await storage.get([id])).map((result) => result && seen(result)),
        ["2 completed"],
      );
    },
  ),
  withResults("a waiter for the result wakes when it is settled with it", async (bench, storage) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    const waiting = awaitedLater(storage.wait([{ taskId: id, run: 1 }], 10_000));
    assert.equal(
      await bench.settle({ ...reference(lease), outcome: "completed", storeResult: true, value: "v" }),
      "settled",
    );
    assert.deepEqual(
      (await waiting).map((result) => result.value),
      ["v"],
    );
  }),
];

let madeEvents = 0;
function event(bench: Bench, taskId: string, type: NewEvent["type"]): NewEvent {
  madeEvents += 1;
  return {
    id: `event-${madeEvents}`,
    at: bench.world.clock.now(),
    type,
    taskId,
    taskName: "work",
    queue: "main",
    run: 1,
    attempt: 0,
  };
}

const withEvents = (
  rule: "enqueue-atomic" | "settle-fenced",
  title: string,
  run: (bench: Bench, events: EventStorage) => Promise<void>,
): Case<TaskQueue> => ({
  ...proves(rule, title, async (bench) => {
    const storage = bench.world.backend.eventStorage?.();
    assert.ok(storage);
    assert.equal(storage.backend, bench.queue.backend);
    await run(bench, storage);
  }),
  unless: (world) => (world.backend.eventStorage === undefined ? "the backend has no event storage" : undefined),
});

async function typesOf(events: EventStorage, taskId: string): Promise<readonly string[]> {
  return (await events.query({ taskId }, {})).items.map((one) => one.type);
}

const events: readonly Case<TaskQueue>[] = [
  withEvents(
    "enqueue-atomic",
    "events of a call are appended for tasks that were enqueued, and for no others",
    async (bench, storage) => {
      const [known, fresh] = [bench.task(), bench.task()];
      await bench.receipt(known);
      await bench.queue.enqueue([
        { tasks: [known, fresh], events: [event(bench, known.id, "enqueued"), event(bench, fresh.id, "enqueued")] },
      ]);
      assert.deepEqual([await typesOf(storage, known.id), await typesOf(storage, fresh.id)], [[], ["enqueued"]]);
    },
  ),
  withEvents("enqueue-atomic", "events of a call that is refused are not appended", async (bench, storage) => {
    const task = bench.task({ dependencies: [{ taskId: "unknown", onFailure: "fail" }] });
    await bench.queue.enqueue([{ tasks: [task], events: [event(bench, task.id, "enqueued")] }]);
    assert.deepEqual(await typesOf(storage, task.id), []);
  }),
  withEvents(
    "settle-fenced",
    "events of a settlement are appended once, though it is sent twice",
    async (bench, storage) => {
      const id = await bench.add();
      const lease = await bench.takeOne();
      const settle = (): Promise<string> =>
        bench.settle({
          ...reference(lease),
          outcome: "completed",
          storeResult: false,
          events: [event(bench, id, "completed")],
        });
      assert.deepEqual([await settle(), await settle()], ["settled", "settled"]);
      assert.deepEqual(await typesOf(storage, id), ["completed"]);
    },
  ),
  withEvents("settle-fenced", "events of a settlement that is lost are not appended", async (bench, storage) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    assert.equal(
      await bench.settle({
        ...reference(lease),
        token: "no",
        outcome: "release",
        events: [event(bench, id, "released")],
      }),
      "lost",
    );
    assert.deepEqual(await typesOf(storage, id), []);
  }),
];

const joined = (
  rule: "settle-fenced" | "order" | "lease-excludes",
  title: string,
  run: (bench: Bench) => Promise<void>,
): Case<TaskQueue> => ({
  ...proves(rule, title, run),
  unless: (_world, queue) => (queue.settleAndReserve === undefined ? "the queue has no settleAndReserve" : undefined),
});
const request = { queues: ["main"], limit: 10, leaseMs: 60_000, waitMs: 10_000, worker: "bench" };
const completed = (lease: Lease): Settlement => ({ ...reference(lease), outcome: "completed", storeResult: false });

const both: readonly Case<TaskQueue>[] = [
  joined("lease-excludes", "settleAndReserve settles first, then reserves, and does not wait", async (bench) => {
    const group = { key: "g", limit: 1 };
    await bench.add({ group });
    const second = await bench.add({ group });
    const answer = await bench.queue.settleAndReserve?.([completed(await bench.takeOne())], request);
    assert.deepEqual([answer?.states, answer?.leases.map((lease) => lease.taskId)], [["settled"], [second]]);
    const empty = await bench.queue.settleAndReserve?.([completed(answer?.leases[0] as Lease)], request);
    assert.deepEqual([empty?.states, empty?.leases], [["settled"], []]);
  }),
  joined("settle-fenced", "settleAndReserve fences like settle", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    const answer = await bench.queue.settleAndReserve?.(
      [{ ...completed(lease), token: "no" }, completed(lease), completed(lease)],
      request,
    );
    assert.deepEqual(answer?.states, ["lost", "settled", "settled"]);
    assert.equal(await bench.state(id), "gone");
  }),
  joined("order", "settleAndReserve gives in the same order as reserve", async (bench) => {
    const low = await bench.add();
    const lease = await bench.takeOne();
    const released: Settlement = { ...reference(lease), outcome: "release" };
    await bench.pass(marginMs);
    const later = await bench.add();
    const answer = await bench.queue.settleAndReserve?.([released], request);
    assert.deepEqual(
      answer?.leases.map((one) => one.taskId),
      [low, later],
    );
  }),
];

/** Outcomes, results and events. */
export const outcomeCases: readonly Case<TaskQueue>[] = [...unrecorded, ...results, ...events, ...both];
