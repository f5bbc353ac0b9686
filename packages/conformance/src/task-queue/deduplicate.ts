// Cases of deduplication keys: who holds one, for how long, and what the three modes do.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves } from "./bench.ts";
import { holderCases } from "./deduplicate-holders.ts";
import { situations } from "./states.ts";

const keyed = (mode: "keep" | "replace" | "extend", windowMs?: number): Pick<NewTask, "deduplicate"> => ({
  deduplicate: windowMs === undefined ? { key: "key", mode } : { key: "key", mode, windowMs },
});

/** What `mode` answers while a holder is in a state, and what the holder is afterwards. */
async function answer(
  bench: Bench,
  mode: "keep" | "replace" | "extend",
  windowMs?: number,
): Promise<{ id: string; state: string; task: NewTask }> {
  const task = bench.task(keyed(mode, windowMs));
  return { ...(await bench.receipt(task)), task };
}

const needs = ["deduplication"] as const;
const prove = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> =>
  proves("deduplicate", title, run, needs);

/** A holder without a window in each state; its key is held while it is waiting or active. */
const held = (state: string | undefined): "waiting" | "active" | "free" =>
  state === "blocked" || state === "scheduled" || state === "ready"
    ? "waiting"
    : state === "active"
      ? "active"
      : "free";

/** Brings a holder into a state by way of the state table, with the key put on. */
function withKey(bench: Bench): Bench {
  const make = bench.task.bind(bench);
  bench.task = (overrides = {}) =>
    make(overrides.queue === undefined || overrides.queue === "main" ? { ...keyed("keep"), ...overrides } : overrides);
  return bench;
}

const byState: readonly Case<TaskQueue>[] = situations
  .filter((one) => one.name !== "never seen")
  .flatMap((one) =>
    (["keep", "replace", "extend"] as const).map((mode) =>
      proves(
        "deduplicate",
        `${mode} against a holder that is ${one.name}`,
        async (bench) => {
          const holder = await one.reach(withKey(bench));
          const got = await answer(bench, mode);
          const kind = held(one.state);
          if (kind === "free" || (mode === "replace" && kind === "active")) {
            assert.deepEqual([got.id, got.state], [got.task.id, "enqueued"]);
            await bench.record(holder);
            const next = await answer(bench, "keep");
            assert.deepEqual([next.id, next.state], [got.id, "deduplicated"], "the new task took the key");
          } else {
            const state =
              kind === "active" || mode === "keep" ? "deduplicated" : mode === "replace" ? "replaced" : "extended";
            assert.deepEqual([got.id, got.state], [holder, state]);
            assert.equal(await bench.find(got.task.id), undefined, "nothing new is stored");
          }
        },
        [...needs, ...one.needs],
      ),
    ),
  );

const modes: readonly Case<TaskQueue>[] = [
  prove("keep changes nothing of the holder", async (bench) => {
    const id = await bench.add(keyed("keep"));
    const before = await bench.get(id);
    await bench.receipt(bench.task({ ...keyed("keep"), payload: "other", priority: 9, delayMs: 60_000 }));
    assert.deepEqual(await bench.get(id), before);
    assert.equal(before.deduplicationKey, "key");
  }),
  prove("replace changes payload, envelope, priority, attempts, times and the result's time to live", async (bench) => {
    const id = await bench.add({ ...keyed("keep"), delayMs: 60_000 });
    const before = await bench.get(id);
    const task = bench.task({
      ...keyed("replace"),
      payload: "new",
      envelope: "new envelope",
      priority: 3,
      maxAttempts: 9,
      resultTtlMs: null,
      delayMs: 0,
      expiresInMs: 5_000,
    });
    assert.deepEqual(await bench.receipt(task), { id, state: "replaced" });
    const after = await bench.get(id);
    assert.deepEqual(
      [after.payload, after.envelope, after.priority, after.maxAttempts, after.resultTtlMs],
      ["new", "new envelope", 3, 9, null],
    );
    assert.equal(after.enqueuedAt, before.enqueuedAt);
    assert.equal(after.expiresAt, after.runAt + 5_000);
    const lease = await bench.takeOne();
    assert.deepEqual([lease.taskId, lease.task.payload], [id, "new"]);
  }),
  prove("replace can move a ready task into the future", async (bench) => {
    const id = await bench.add(keyed("keep"));
    await bench.receipt(bench.task({ ...keyed("replace"), delayMs: 60_000 }));
    assert.equal(await bench.state(id), "scheduled");
    await bench.none();
  }),
  prove("replace keeps the holder's place among its equals", async (bench) => {
    // Far enough ahead that all three calls come before it, on a loaded machine too: a time in the past counts as now.
    const aheadMs = bench.world.clock.controlled ? 60 : 1_500;
    const runAt = bench.world.clock.now() + aheadMs;
    const holder = await bench.add({ ...keyed("keep"), runAt });
    const other = await bench.add({ runAt });
    assert.equal((await bench.receipt(bench.task({ ...keyed("replace"), runAt }))).state, "replaced");
    await bench.pass(aheadMs + marginMs);
    assert.deepEqual(await bench.takenIds(10), [holder, other]);
    assert.deepEqual(
      (await bench.queue.list({ queue: "main" }, {})).items.map((task) => task.id),
      [holder, other],
    );
  }),
  proves(
    "deduplicate",
    "replace keeps the holder's group and dependencies",
    async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      const id = await bench.add({
        ...keyed("keep"),
        group: { key: "g", limit: 2 },
        dependencies: [{ taskId: parent, onFailure: "fail" }],
      });
      await bench.receipt(bench.task({ ...keyed("replace"), payload: "new", group: { key: "other", limit: 1 } }));
      const task = await bench.get(id);
      assert.deepEqual(
        [task.state, task.payload, task.group, task.dependencies],
        ["blocked", "new", { key: "g", limit: 2 }, [parent]],
      );
    },
    [...needs, "groups", "dependencies"],
  ),
  prove("after replace against an active holder, the new one is the one that is replaced", async (bench) => {
    await bench.add(keyed("keep"));
    const lease = await bench.takeOne();
    const second = await answer(bench, "replace");
    assert.equal(second.state, "enqueued");
    const third = await answer(bench, "replace");
    assert.deepEqual([third.id, third.state], [second.id, "replaced"]);
    await bench.complete(lease);
    assert.deepEqual(
      (await answer(bench, "keep")).id,
      second.id,
      "the first one's end does not free the second one's key",
    );
  }),
  prove("extend moves the time of a waiting holder and nothing else", async (bench) => {
    const id = await bench.add({ ...keyed("keep"), payload: "old" });
    await bench.receipt(bench.task({ ...keyed("extend"), payload: "new", delayMs: 5_000, priority: 4 }));
    const task = await bench.get(id);
    assert.deepEqual([task.state, task.payload, task.priority], ["scheduled", "old", 0]);
    assert.ok(task.runAt >= task.enqueuedAt + 5_000);
    await bench.none();
  }),
  prove("extend again and again holds a task back until calls stop", async (bench) => {
    const id = await bench.add({ ...keyed("extend"), delayMs: 150 });
    for (let index = 0; index < 3; index++) {
      await bench.pass(75);
      assert.deepEqual(await bench.receipt(bench.task({ ...keyed("extend"), delayMs: 150 })), {
        id,
        state: "extended",
      });
      await bench.none();
    }
    await bench.pass(150 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [id]);
  }),
  prove("the key holds inside one call", async (bench) => {
    const [a, b] = [bench.task(keyed("keep")), bench.task(keyed("keep"))];
    assert.deepEqual(await bench.receipts([a, b]), [
      { id: a.id, state: "enqueued" },
      { id: a.id, state: "deduplicated" },
    ]);
  }),
  prove("a known id is a duplicate before it is deduplicated", async (bench) => {
    const task = bench.task(keyed("keep"));
    await bench.receipt(task);
    assert.equal((await bench.receipt(task)).state, "duplicate");
  }),
  prove("keys are per queue, and other keys are free", async (bench) => {
    await bench.add(keyed("keep"));
    assert.equal((await bench.receipt(bench.task({ ...keyed("keep"), queue: "other" }))).state, "enqueued");
    assert.equal((await bench.receipt(bench.task({ deduplicate: { key: "KEY", mode: "keep" } }))).state, "enqueued");
  }),
  prove("racing calls with one key store one task", async (bench) => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => answer(bench, "keep")));
    assert.equal(answers.filter((one) => one.state === "enqueued").length, 1);
    assert.equal(new Set(answers.map((one) => one.id)).size, 1);
  }),
  prove("a key is free once its holder has completed, was removed, or was cancelled", async (bench) => {
    await bench.add(keyed("keep"));
    await bench.complete(await bench.takeOne());
    const second = await bench.add(keyed("keep"));
    await bench.remove(second);
    const third = await bench.add(keyed("keep"));
    await bench.cancel(third);
    const fourth = await answer(bench, "keep");
    assert.equal(fourth.state, "enqueued", "recorded or not");
    await bench.record(third);
    assert.equal((await answer(bench, "keep")).id, fourth.id);
  }),
  prove("purge frees the keys of what it removes", async (bench) => {
    await bench.add(keyed("keep"));
    assert.equal(await bench.queue.purge("main", ["ready"]), 1);
    assert.equal((await answer(bench, "keep")).state, "enqueued");
  }),
  prove("a task that waits for its retry holds its key", async (bench) => {
    const id = await bench.add(keyed("keep"));
    await bench.retryLater(await bench.takeOne(), 60_000);
    assert.deepEqual((await answer(bench, "keep")).id, id);
  }),
  prove("a dead letter that is retried takes its key again", async (bench) => {
    const id = await bench.addDeadLetter(keyed("keep"));
    assert.equal(await bench.retry(id), "retried");
    const got = await answer(bench, "keep");
    assert.deepEqual([got.id, got.state], [id, "deduplicated"]);
  }),
  prove("retrying a dead letter whose key is taken answers conflict", async (bench) => {
    const id = await bench.addDeadLetter(keyed("keep"));
    const other = await bench.add(keyed("keep"));
    assert.equal(await bench.retry(id), "conflict");
    assert.equal(await bench.state(id), "failed");
    await bench.remove(other);
    assert.equal(await bench.retry(id), "retried");
  }),
];

const windows: readonly Case<TaskQueue>[] = [
  prove("with a window the key is held after the holder has completed, until the window is over", async (bench) => {
    const id = await bench.add(keyed("keep", 300));
    await bench.complete(await bench.takeOne());
    assert.deepEqual((await answer(bench, "keep", 300)).id, id);
    await bench.pass(300 + marginMs);
    assert.equal((await answer(bench, "keep", 300)).state, "enqueued");
  }),
  prove("with a window the key is free when it is over, though the holder is live", async (bench) => {
    await bench.add({ ...keyed("keep", 100), delayMs: 60_000 });
    assert.equal((await answer(bench, "keep", 100)).state, "deduplicated");
    await bench.pass(100 + marginMs);
    assert.equal((await answer(bench, "keep", 100)).state, "enqueued");
  }),
  prove("keep does not move the window", async (bench) => {
    await bench.add({ ...keyed("keep", 300), delayMs: 60_000 });
    await bench.pass(200);
    assert.equal((await answer(bench, "keep", 300)).state, "deduplicated");
    await bench.pass(100 + marginMs);
    assert.equal((await answer(bench, "keep", 300)).state, "enqueued");
  }),
  ...(["extend", "replace"] as const).map((mode) =>
    prove(`${mode} moves the window`, async (bench) => {
      const id = await bench.add({ ...keyed("keep", 400), delayMs: 60_000 });
      await bench.pass(250);
      const moved = await bench.receipt(bench.task({ ...keyed(mode, 400), delayMs: 60_000 }));
      assert.deepEqual(moved, { id, state: mode === "extend" ? "extended" : "replaced" });
      await bench.pass(250);
      assert.equal((await answer(bench, "keep", 400)).id, id);
      await bench.pass(150 + marginMs);
      assert.equal((await answer(bench, "keep", 400)).state, "enqueued");
    }),
  ),
  prove("inside the window a dead letter holds its key", async (bench) => {
    const id = await bench.addDeadLetter(keyed("keep", 60_000));
    const got = await answer(bench, "keep", 60_000);
    assert.deepEqual([got.id, got.state], [id, "deduplicated"]);
  }),
  prove("inside the window extend against a holder that is over answers deduplicated", async (bench) => {
    const id = await bench.add(keyed("keep", 60_000));
    await bench.complete(await bench.takeOne());
    const got = await answer(bench, "extend", 60_000);
    assert.deepEqual([got.id, got.state], [id, "deduplicated"]);
  }),
  prove(
    "inside the window replace against a holder that is over enqueues the new task, which takes the key",
    async (bench) => {
      await bench.add(keyed("keep", 60_000));
      await bench.complete(await bench.takeOne());
      const got = await answer(bench, "replace", 60_000);
      assert.equal(got.state, "enqueued");
      assert.equal((await answer(bench, "keep", 60_000)).id, got.id);
    },
  ),
];

/** Deduplication keys. */
export const deduplicateCases: readonly Case<TaskQueue>[] = [...byState, ...modes, ...windows, ...holderCases];
