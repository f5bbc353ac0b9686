// Cases of `deduplicate` about the holder: one that is over or has expired lets its key go, one that waits for its retry begins anew.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, marginMs, proves, reference } from "./bench.ts";

type Mode = "keep" | "replace" | "extend";
const keyed = (mode: Mode, windowMs?: number): Pick<NewTask, "deduplicate"> => ({
  deduplicate: windowMs === undefined ? { key: "key", mode } : { key: "key", mode, windowMs },
});
const prove = (title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> =>
  proves("deduplicate", title, run, ["deduplication", ...needs]);

/** The life of a holder that nobody starts. */
const shortMs = 20;
/** The life of one that is started in time, on a busy machine too. */
const lifeMs = (bench: Bench): number => (bench.world.clock.controlled ? 60 : 1_000);

/** An enqueue with the key stores this new task, which has the key then, whatever is recorded of the old holder afterwards. */
async function taken(bench: Bench, holder: string, mode: Mode, windowMs?: number): Promise<void> {
  const task = bench.task({ ...keyed(mode, windowMs), delayMs: 60_000 });
  assert.deepEqual(await bench.receipt(task), { id: task.id, state: "enqueued" });
  const keep = (): Promise<unknown> => bench.receipt(bench.task(keyed("keep", windowMs)));
  assert.deepEqual(await keep(), { id: task.id, state: "deduplicated" });
  await bench.none();
  await bench.queue.sweep(100);
  await bench.record(holder);
  assert.deepEqual(await keep(), { id: task.id, state: "deduplicated" }, "after the old holder's record");
  await bench.remove(holder);
  assert.deepEqual(await keep(), { id: task.id, state: "deduplicated" }, "after the old holder was removed");
  assert.equal(await bench.state(task.id), "scheduled");
}

const windows = [
  ["without a window", undefined],
  ["inside its window", 60_000],
] as const;

const expired: readonly Case<TaskQueue>[] = [
  ...windows.flatMap(([where, windowMs]) =>
    (["keep", "replace", "extend"] as const).flatMap((mode) =>
      ([false, true] as const).map((decided) =>
        prove(
          `${mode} against a holder that has expired, ${decided ? "as the queue says" : "which nobody has noticed"}, ${where}, is accepted`,
          async (bench) => {
            const holder = await bench.add({ ...keyed("keep", windowMs), expiresInMs: shortMs });
            await bench.pass(shortMs + marginMs);
            if (decided) {
              await bench.queue.sweep(100);
              assert.equal(await bench.state(holder), "expired");
            }
            await taken(bench, holder, mode, windowMs);
            assert.equal(await bench.state(holder), "gone", "its outcome was decided, and recorded");
          },
        ),
      ),
    ),
  ),
  prove("a holder that expired while another took its key still gets its outcome", async (bench) => {
    const holder = await bench.add({ ...keyed("keep"), expiresInMs: shortMs });
    await bench.pass(shortMs + marginMs);
    await bench.add(keyed("keep"));
    await bench.queue.sweep(100);
    assert.equal((await bench.outcome(holder)).status, "expired");
    assert.equal(await bench.state(holder), "expired");
    assert.equal((await bench.counts()).unrecorded, 1);
  }),
  prove("a scheduled holder that has expired before its time holds nothing", async (bench) => {
    const now = bench.world.clock.now();
    const holder = await bench.add({ ...keyed("keep"), runAt: now + 60_000, expiresAt: now + shortMs });
    await bench.pass(shortMs + marginMs);
    await taken(bench, holder, "keep");
  }),
  prove(
    "a blocked holder that has expired holds nothing",
    async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      const holder = await bench.add({
        ...keyed("keep"),
        expiresInMs: shortMs,
        dependencies: [{ taskId: parent, onFailure: "fail" }],
      });
      await bench.pass(shortMs + marginMs);
      await taken(bench, holder, "replace");
    },
    ["dependencies"],
  ),
  prove(
    "a holder that was started in time holds its key past `expiresAt`, waiting for its retry too",
    async (bench) => {
      const life = lifeMs(bench);
      const holder = await bench.add({ ...keyed("keep"), expiresInMs: life });
      const lease = await bench.takeOne();
      await bench.pass(life + marginMs);
      assert.deepEqual(await bench.receipt(bench.task(keyed("keep"))), { id: holder, state: "deduplicated" });
      await bench.retryLater(lease, 60_000);
      assert.deepEqual(await bench.receipt(bench.task(keyed("keep"))), { id: holder, state: "deduplicated" });
    },
  ),
  prove(
    "a holder whose first attempt was released has not started: past `expiresAt` it holds nothing",
    async (bench) => {
      const life = lifeMs(bench);
      const holder = await bench.add({ ...keyed("keep"), expiresInMs: life });
      await bench.release(await bench.takeOne());
      await bench.pass(life + marginMs);
      await taken(bench, holder, "keep");
    },
  ),
  prove("racing calls on two connections against an expired holder store one task", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    await bench.add({ ...keyed("keep"), expiresInMs: shortMs });
    await bench.pass(shortMs + marginMs);
    const tasks = Array.from({ length: 20 }, () => bench.task(keyed("keep")));
    const receipts = await Promise.all(
      tasks.map((task, index) => bench.on(index % 2 === 0 ? bench.queue : other).receipt(task)),
    );
    assert.equal(receipts.filter((receipt) => receipt.state === "enqueued").length, 1);
    assert.equal(new Set(receipts.map((receipt) => receipt.id)).size, 1);
    assert.equal((await bench.takenIds(30)).length, 1);
  }),
  prove("inside one call the second task of a key that has expired is deduplicated by the first", async (bench) => {
    await bench.add({ ...keyed("keep"), expiresInMs: shortMs });
    await bench.pass(shortMs + marginMs);
    const [a, b] = [bench.task(keyed("keep")), bench.task(keyed("keep"))];
    assert.deepEqual(await bench.receipts([a, b]), [
      { id: a.id, state: "enqueued" },
      { id: a.id, state: "deduplicated" },
    ]);
  }),
];

/** The ways in which a holder is over and its outcome not recorded. */
const over: Readonly<Record<string, (bench: Bench, id: string) => Promise<void>>> = {
  "dead by retry": async (bench) => bench.retryLater(await bench.takeOne(), 0),
  "cancelled while waiting": async (bench, id) => assert.equal(await bench.cancel(id), "cancelled"),
  "cancelled by release": async (bench, id) => {
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.release(lease);
  },
};

const unrecorded: readonly Case<TaskQueue>[] = Object.entries(over).flatMap(([how, end]) => [
  ...(["keep", "replace", "extend"] as const).map((mode) =>
    prove(`outside a window ${mode} against a holder that was ${how} is accepted before its record`, async (bench) => {
      const holder = await bench.add({ ...keyed("keep"), maxAttempts: 1 });
      await end(bench, holder);
      await taken(bench, holder, mode);
    }),
  ),
  prove(`a holder that was ${how} holds its key inside its window, recorded or not, and no longer`, async (bench) => {
    const windowMs = bench.world.clock.controlled ? 500 : 1_000;
    const holder = await bench.add({ ...keyed("keep", windowMs), maxAttempts: 1 });
    const from = bench.world.clock.now();
    await end(bench, holder);
    const keep = (mode: Mode): Promise<unknown> => bench.receipt(bench.task(keyed(mode, windowMs)));
    const first = await keep("keep");
    await bench.record(holder);
    const second = await keep("extend");
    // Only what was asked inside the window says something; a busy machine may be late.
    if (bench.world.clock.now() < from + windowMs - marginMs)
      assert.deepEqual(
        [first, second],
        [
          { id: holder, state: "deduplicated" },
          { id: holder, state: "deduplicated" },
        ],
      );
    await bench.pass(windowMs + marginMs);
    const task = bench.task(keyed("keep", windowMs));
    assert.deepEqual(await bench.receipt(task), { id: task.id, state: "enqueued" });
  }),
]);

/** A holder of two attempts that has had one, and waits. */
const waitingAgain: Readonly<Record<string, (bench: Bench) => Promise<string>>> = {
  "waits for its retry": async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 2, expiresInMs: 60_000 });
    const lease = await bench.takeOne();
    await bench.extend(lease, 60_000, "half");
    await bench.retryLater(lease, 30_000, "why");
    return id;
  },
  "is due for its retry": async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 2, expiresInMs: 60_000 });
    const lease = await bench.takeOne();
    await bench.extend(lease, 60_000, "half");
    await bench.retryLater(lease, 0, "why");
    return id;
  },
  "was put off in its second attempt": async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 2, expiresInMs: 60_000 });
    await bench.retryLater(await bench.takeOne(), 0, "why");
    const lease = await bench.takeOne();
    await bench.extend(lease, 60_000, "half");
    assert.equal(await bench.settle({ ...reference(lease), outcome: "release", delayMs: 30_000 }), "settled");
    return id;
  },
  "waits for its redelivery": async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 2, expiresInMs: 60_000 });
    await bench.retryLater(await bench.takeOne(), 0, "why");
    const [lease] = await bench.take(1);
    assert.ok(lease);
    await bench.runOut();
    await bench.queue.sweep(100);
    return id;
  },
};

const anew: readonly Case<TaskQueue>[] = [
  ...Object.entries(waitingAgain).flatMap(([how, reach]) => [
    prove(`replace of a holder that ${how} gives the new input its full attempts`, async (bench) => {
      const id = await reach(bench);
      assert.equal((await bench.get(id)).attempt, 1);
      const task = bench.task({ ...keyed("replace"), payload: "new", maxAttempts: 2 });
      assert.deepEqual(await bench.receipt(task), { id, state: "replaced" });
      const after = await bench.get(id);
      assert.deepEqual(
        [after.state, after.run, after.attempt, after.expiries, after.error, after.progress, after.startedAt],
        ["ready", 1, 0, 0, undefined, undefined, undefined],
      );
      for (const attempt of [1, 2]) {
        const lease = await bench.takeOne();
        assert.deepEqual([lease.taskId, lease.attempt, lease.task.payload], [id, attempt, "new"]);
        await bench.retryLater(lease, 0, "again");
      }
      assert.equal(await bench.state(id), "failed");
    }),
    prove(`after replace of a holder that ${how} \`expiresAt\` counts again`, async (bench) => {
      const id = await reach(bench);
      await bench.receipt(bench.task({ ...keyed("replace"), expiresInMs: shortMs }));
      const after = await bench.get(id);
      assert.equal(after.expiresAt, after.runAt + shortMs);
      await bench.pass(shortMs + marginMs);
      await bench.none();
      assert.equal(await bench.state(id), "expired");
    }),
  ]),
  prove("keep and extend leave the attempts of a holder that waits for its retry as they are", async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 2 });
    await bench.retryLater(await bench.takeOne(), 60_000, "why");
    await bench.receipt(bench.task(keyed("keep")));
    await bench.receipt(bench.task({ ...keyed("extend"), delayMs: 0 }));
    const task = await bench.get(id);
    assert.deepEqual([task.attempt, task.error], [1, "why"]);
    assert.equal((await bench.takeOne()).attempt, 2);
  }),
  prove("an old lease can not touch what replaced its task's input", async (bench) => {
    const id = await bench.add({ ...keyed("keep"), maxAttempts: 3 });
    const old = await bench.takeOne();
    await bench.retryLater(old, 0);
    await bench.receipt(bench.task({ ...keyed("replace"), payload: "new" }));
    const lease = await bench.takeOne();
    assert.deepEqual([lease.run, lease.attempt], [old.run, old.attempt], "all but the token is the same");
    assert.equal(await bench.settle({ ...reference(old), outcome: "completed", storeResult: false }), "lost");
    assert.deepEqual(await bench.extend(old), { state: "lost" });
    assert.equal(await bench.state(id), "active");
    await bench.complete(lease);
  }),
];

/** Who holds a key, and what a replaced holder keeps. */
export const holderCases: readonly Case<TaskQueue>[] = [...expired, ...unrecorded, ...anew];
