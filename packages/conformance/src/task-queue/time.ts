// Cases of time: never too early, never too late, and upkeep without sweep.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { marginMs, proves } from "./bench.ts";

const early: readonly Case<TaskQueue>[] = [
  ...(
    [
      ["delayMs", (ms: number) => ({ delayMs: ms })],
      ["runAt", (ms: number, now: number) => ({ runAt: now + ms })],
    ] as const
  ).map(([name, when]) =>
    proves("no-early-delivery", `a task with ${name} is given at its time and not before`, async (bench) => {
      // Where time is real, far enough ahead that a loaded machine asks before it.
      const aheadMs = bench.world.clock.controlled ? 250 : 1_000;
      const id = await bench.add(when(aheadMs, bench.world.clock.now()));
      const { state, runAt } = await bench.get(id);
      assert.equal(state, "scheduled");
      await bench.none();
      await bench.pass(100);
      await bench.none();
      await bench.pass(aheadMs - 100 + marginMs);
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, id);
      assert.ok((lease.task.startedAt ?? 0) >= runAt, "started at or after runAt");
    }),
  ),
  proves("no-early-delivery", "delayMs counts from the enqueue by the store's clock", async (bench) => {
    const task = await bench.get(await bench.add({ delayMs: 5_000 }));
    assert.equal(task.runAt - task.enqueuedAt, 5_000);
  }),
  proves("no-early-delivery", "a runAt in the past and a delay of 0 are now", async (bench) => {
    const ids = [await bench.add({ runAt: bench.world.clock.now() - 60_000 }), await bench.add({ delayMs: 0 })];
    assert.deepEqual([...(await bench.takenIds(10))].sort(), [...ids].sort());
  }),
  proves("no-early-delivery", "a retry is given when its delay is over and not before", async (bench) => {
    const id = await bench.add();
    const first = await bench.takeOne();
    await bench.retryLater(first, 200, "the error");
    const task = await bench.get(id);
    assert.deepEqual([task.state, task.attempt, task.error], ["scheduled", 1, "the error"]);
    await bench.none();
    await bench.pass(200 + marginMs);
    const lease = await bench.takeOne();
    assert.deepEqual([lease.taskId, lease.attempt], [id, 2]);
    assert.ok(bench.world.clock.now() + marginMs >= task.runAt);
    assert.equal(lease.task.startedAt, first.task.startedAt, "startedAt is the first start of the run");
  }),
  proves(
    "no-early-delivery",
    "a scheduled task of high priority does not come before a ready one of low priority",
    async (bench) => {
      await bench.add({ delayMs: 60_000, priority: 1_000 });
      const ready = await bench.add({ priority: -1_000 });
      assert.deepEqual(await bench.takenIds(10), [ready]);
    },
    ["priorities"],
  ),
  proves("no-early-delivery", "sweep does not make a task ready before its time", async (bench) => {
    const id = await bench.add({ delayMs: 60_000 });
    await bench.queue.sweep(1_000);
    assert.equal(await bench.state(id), "scheduled");
    await bench.none();
  }),
];

const late: readonly Case<TaskQueue>[] = [
  ...(
    [
      ["expiresInMs", () => ({ expiresInMs: 100 })],
      ["expiresAt", (now: number) => ({ expiresAt: now + 100 })],
    ] as const
  ).map(([name, when]) =>
    proves("no-late-delivery", `a task with ${name} is given before its time is over`, async (bench) => {
      const id = await bench.add(
        name === "expiresInMs" ? { expiresInMs: 5_000 } : { expiresAt: bench.world.clock.now() + 5_000 },
      );
      assert.deepEqual(await bench.takenIds(10), [id]);
      // The case of the same task after its time, in the same words.
      const expired = await bench.add(when(bench.world.clock.now()));
      await bench.pass(100 + marginMs);
      await bench.none();
      assert.equal(await bench.state(expired), "expired");
      const outcome = await bench.outcome(expired);
      assert.deepEqual([outcome.status, outcome.run, outcome.attempt], ["expired", 1, 0]);
    }),
  ),
  proves("no-late-delivery", "an expiresAt that is past already expires the task", async (bench) => {
    const id = await bench.add({ expiresAt: bench.world.clock.now() - 1_000 });
    await bench.none();
    assert.equal(await bench.state(id), "expired");
  }),
  proves("no-late-delivery", "expiresInMs counts from the time at which the task is due", async (bench) => {
    const task = await bench.get(await bench.add({ delayMs: 5_000, expiresInMs: 700 }));
    assert.equal(task.expiresAt, task.runAt + 700);
  }),
  proves(
    "no-late-delivery",
    "expiresAt counts only until the first start: a retry after it is given",
    async (bench) => {
      const id = await bench.add({ expiresInMs: 150 });
      await bench.retryLater(await bench.takeOne(), 0);
      await bench.pass(150 + marginMs);
      assert.equal((await bench.takeOne()).taskId, id);
    },
  ),
  proves(
    "no-late-delivery",
    "expiresAt counts only until the first start: a redelivery after it is given",
    async (bench) => {
      const id = await bench.add({ expiresInMs: 150 });
      assert.equal((await bench.take(1)).length, 1);
      await bench.runOut();
      assert.equal((await bench.redelivered()).taskId, id);
    },
  ),
  proves("no-late-delivery", "an active task does not expire", async (bench) => {
    // Where time is real, it has to be taken before it expires, on a busy machine too.
    const lifeMs = bench.world.clock.controlled ? 100 : 1_000;
    const id = await bench.add({ expiresInMs: lifeMs });
    const lease = await bench.takeOne();
    await bench.pass(lifeMs + marginMs);
    await bench.none();
    await bench.queue.sweep(100);
    assert.equal(await bench.state(id), "active");
    await bench.complete(lease);
  }),
  proves("no-late-delivery", "a task held by a pause expires, and is not given after resume", async (bench) => {
    await bench.queue.pause("main");
    const id = await bench.add({ expiresInMs: 100 });
    await bench.pass(100 + marginMs);
    await bench.queue.resume("main");
    await bench.none();
    assert.equal(await bench.state(id), "expired");
  }),
  proves(
    "no-late-delivery",
    "a blocked task expires",
    async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      const id = await bench.add({
        dependencies: [{ taskId: parent, onFailure: "run" }],
        expiresAt: bench.world.clock.now() + 100,
      });
      await bench.pass(100 + marginMs);
      await bench.none();
      await bench.queue.sweep(100);
      assert.equal(await bench.state(id), "expired");
      await bench.complete(await bench.takeOne({ queues: ["parents"] }));
      await bench.none();
    },
    ["dependencies"],
  ),
  proves("no-late-delivery", "a scheduled task whose time to start is before it is due expires", async (bench) => {
    const id = await bench.add({ delayMs: 60_000, expiresAt: bench.world.clock.now() + 100 });
    await bench.pass(100 + marginMs);
    await bench.none();
    await bench.queue.sweep(100);
    assert.equal(await bench.state(id), "expired");
  }),
  proves("no-late-delivery", "an expired task among ready ones does not hide them", async (bench) => {
    await bench.add({ expiresInMs: 50, priority: 10 });
    const id = await bench.add();
    await bench.pass(50 + marginMs);
    assert.deepEqual(await bench.takenIds(1), [id]);
  }),
];

const upkeep: readonly Case<TaskQueue>[] = [
  proves("self-upkeep", "reserve alone promotes what is due", async (bench) => {
    const ids = [await bench.add({ delayMs: 60 }), await bench.add({ delayMs: 80 }), await bench.add({ delayMs: 100 })];
    await bench.pass(100 + marginMs);
    assert.deepEqual(await bench.takenIds(10), ids);
  }),
  proves("self-upkeep", "reserve alone expires what is late", async (bench) => {
    const id = await bench.add({ expiresInMs: 60 });
    await bench.pass(60 + marginMs);
    await bench.none();
    assert.equal((await bench.outcome(id)).status, "expired");
  }),
  proves("self-upkeep", "reserve alone redelivers what was lost", async (bench) => {
    const id = await bench.add();
    assert.equal((await bench.take(1)).length, 1);
    await bench.runOut();
    await bench.none();
    assert.equal((await bench.redelivered()).taskId, id);
  }),
  proves(
    "self-upkeep",
    "reserve alone frees the slots of dead leases",
    async (bench) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.add({ priority: 1 });
      const other = await bench.add();
      assert.equal((await bench.take(1)).length, 1);
      await bench.runOut();
      assert.equal((await bench.takeOne()).taskId, other);
    },
    ["queueLimits", "priorities"],
  ),
  proves("self-upkeep", "many due tasks are promoted by reserve alone", async (bench) => {
    const tasks = Array.from({ length: 300 }, () => bench.task({ delayMs: 60 }));
    await bench.receipts(tasks);
    await bench.pass(60 + marginMs);
    const taken: string[] = [];
    for (let round = 0; round < 30 && taken.length < 300; round++) taken.push(...(await bench.takenIds(100)));
    assert.deepEqual(
      taken,
      tasks.map((task: NewTask) => task.id),
    );
  }),
  proves("self-upkeep", "sweep does bounded upkeep and says how many it changed", async (bench) => {
    for (let index = 0; index < 5; index++) await bench.add({ expiresInMs: 20 });
    await bench.pass(20 + marginMs);
    let changed = 0;
    for (let round = 0; round < 5; round++) changed += await bench.queue.sweep(2);
    assert.ok(changed >= 5, `changed ${changed}`);
    assert.equal((await bench.counts()).unrecorded, 5);
    assert.equal(await bench.queue.sweep(100), 0, "nothing is left to do");
  }),
  proves("self-upkeep", "sweep removes dead letters that are past their queue's time", async (bench) => {
    await bench.queue.configureQueue("main", { deadLetterTtlMs: 60 });
    const id = await bench.addDeadLetter();
    assert.equal(await bench.state(id), "failed");
    await bench.pass(60 + marginMs);
    await bench.queue.sweep(100);
    assert.equal(await bench.state(id), "gone");
    assert.equal((await bench.counts()).failed, 0);
  }),
];

/** Early, late and upkeep. */
export const timeCases: readonly Case<TaskQueue>[] = [...early, ...late, ...upkeep];
