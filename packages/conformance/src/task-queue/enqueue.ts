// Cases of storing tasks: durable, once per id, all or none, apart from the other calls of the batch.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves } from "./bench.ts";
import { freedIdCases } from "./freed-ids.ts";
import { situations } from "./states.ts";

const remembered = { rememberMs: 60_000 };

/** The queue of the backend after everything was closed and opened again. */
async function reopened(bench: Bench): Promise<TaskQueue> {
  const backend = await bench.world.reopen?.();
  assert.ok(backend?.taskQueue, "a durable backend can be opened again");
  return backend.taskQueue();
}

const durable: readonly Case<TaskQueue>[] = [
  ...situations
    .filter((one) => one.state !== undefined)
    .map((one) =>
      proves(
        "enqueue-durable",
        `a task that is ${one.name} is the same after everything was closed and opened again`,
        async (bench) => {
          const id = await one.reach(bench);
          const before = await bench.get(id);
          const counts = await bench.counts();
          const queue = await reopened(bench);
          assert.deepEqual(await queue.get([id]), [before]);
          assert.deepEqual((await queue.counts(["main"]))["main"], counts);
        },
        ["durable", ...one.needs],
      ),
    ),
  proves(
    "enqueue-durable",
    "settings, pauses and remembered ids are the same after everything was closed and opened again",
    async (bench) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.queue.pause("other");
      const id = await bench.add();
      await bench.complete(await bench.takeOne());
      await bench.add();
      await bench.add();
      const again = bench.on(await reopened(bench));
      assert.deepEqual(await again.receipt(again.task({ id })), { id, state: "duplicate" });
      assert.equal((await again.counts("other")).paused, true);
      assert.equal((await again.take(10)).length, 1, "maxActive still holds");
    },
    ["durable", "queueLimits"],
  ),
  proves(
    "enqueue-durable",
    "a lease that was given before everything was closed can be settled afterwards",
    async (bench) => {
      const id = await bench.add();
      const lease = await bench.takeOne();
      const again = bench.on(await reopened(bench));
      await again.complete(lease);
      assert.equal(await again.state(id), "gone");
    },
    ["durable"],
  ),
];

const idempotent: readonly Case<TaskQueue>[] = [
  proves(
    "enqueue-idempotent",
    "the same task twice is one task, and the second receipt says duplicate",
    async (bench) => {
      const task = bench.task();
      assert.deepEqual(await bench.receipt(task), { id: task.id, state: "enqueued" });
      assert.deepEqual(await bench.receipt(task), { id: task.id, state: "duplicate" });
      assert.deepEqual(await bench.takenIds(10), [task.id]);
    },
  ),
  proves("enqueue-idempotent", "the same id twice in one call is one task", async (bench) => {
    const task = bench.task();
    assert.deepEqual(
      (await bench.receipts([task, { ...task, payload: "other" }])).map((one) => one.state),
      ["enqueued", "duplicate"],
    );
    assert.equal((await bench.get(task.id)).payload, task.payload);
    assert.equal((await bench.counts()).ready, 1);
  }),
  proves("enqueue-idempotent", "the same id in two calls of one batch is one task", async (bench) => {
    const task = bench.task();
    const answers = await bench.queue.enqueue([{ tasks: [task] }, { tasks: [task] }]);
    assert.deepEqual(
      answers.map((one) => one.state === "accepted" && one.receipts[0]?.state),
      ["enqueued", "duplicate"],
    );
    assert.equal((await bench.counts()).ready, 1);
  }),
  proves("enqueue-idempotent", "an id is known in every queue", async (bench) => {
    const task = bench.task();
    await bench.receipt(task);
    assert.deepEqual(await bench.receipt({ ...task, queue: "other" }), { id: task.id, state: "duplicate" });
    assert.equal((await bench.counts("other")).ready, 0);
  }),
  proves("enqueue-idempotent", "racing calls with one id store one task", async (bench) => {
    const task = bench.task();
    const answers = await Promise.all(Array.from({ length: 20 }, () => bench.receipt(task)));
    assert.equal(answers.filter((one) => one.state === "enqueued").length, 1);
    assert.equal((await bench.counts()).ready, 1);
  }),
  proves("enqueue-idempotent", "racing connections with one id store one task", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const task = bench.task();
    const answers = await Promise.all(
      [bench.queue, other, bench.queue, other].map((queue) => queue.enqueue([{ tasks: [task] }])),
    );
    const states = answers.flat().map((one) => one.state === "accepted" && one.receipts[0]?.state);
    assert.deepEqual(states.sort(), ["duplicate", "duplicate", "duplicate", "enqueued"]);
  }),
  ...(["completed", "cancelled by its worker", "cancelled while waiting", "expired"] as const).map((how) =>
    proves("enqueue-idempotent", `the id of a task that was ${how} stays known`, async (bench) => {
      const id = await bench.add(how === "expired" ? { ...remembered, expiresInMs: 10 } : remembered);
      if (how === "completed") await bench.complete(await bench.takeOne());
      if (how === "cancelled by its worker") await bench.settleCancelled(await bench.takeOne());
      if (how === "cancelled while waiting") await bench.cancel(id);
      if (how === "expired") await bench.pass(10 + marginMs);
      await bench.none();
      await bench.record(id);
      assert.equal(await bench.state(id), "gone");
      assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
      await bench.none();
    }),
  ),
  proves("enqueue-idempotent", "a call with generated ids that is sent again stores its tasks once", async (bench) => {
    const tasks = [bench.task({ ...remembered, id: "01a22b8e-65c8-7007-9bea-3f14b6bb2bb5" })];
    const again = async (): Promise<void> => {
      const answer = await bench.queue.enqueue([{ tasks, generatedIds: true }]);
      assert.equal(answer[0]?.state, "accepted");
      if (answer[0]?.state !== "accepted") return;
      const [receipt] = answer[0].receipts;
      assert.equal(receipt?.id, tasks[0]?.id);
      assert.ok(receipt?.state === "enqueued" || receipt?.state === "duplicate", receipt?.state);
    };
    await again();
    await again();
    assert.equal((await bench.counts()).ready, 1);
    const lease = await bench.takeOne();
    await again();
    await bench.none();
    await bench.complete(lease);
    await again();
    await bench.none();
    assert.equal(await bench.state(lease.taskId), "gone");
  }),
  proves("enqueue-idempotent", "an id is forgotten rememberMs after the task is gone", async (bench) => {
    const id = await bench.add({ rememberMs: 100 });
    await bench.complete(await bench.takeOne());
    await bench.pass(100 + marginMs);
    assert.deepEqual(await bench.receipt(bench.task({ id, payload: "second" })), { id, state: "enqueued" });
    assert.equal((await bench.takeOne()).task.payload, "second");
  }),
  proves("enqueue-idempotent", "rememberMs counts from the end of the task, not from its enqueue", async (bench) => {
    const id = await bench.add({ rememberMs: 300 });
    const lease = await bench.takeOne();
    await bench.pass(300 + marginMs);
    await bench.complete(lease);
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
  }),
  proves("enqueue-idempotent", "a dead letter keeps its id known however short rememberMs is", async (bench) => {
    const id = await bench.addDeadLetter({ rememberMs: 10 });
    await bench.pass(10 + marginMs);
    assert.deepEqual(await bench.receipt(bench.task({ id })), { id, state: "duplicate" });
  }),
];

/** A task whose dependency is unknown, so that its call can not be stored. */
function impossible(bench: Bench, unknown: string = "unknown-parent"): NewTask {
  return bench.task({ dependencies: [{ taskId: unknown, onFailure: "fail" }] });
}

const atomic: readonly Case<TaskQueue>[] = [
  proves("enqueue-atomic", "a call of many tasks is stored whole, with a receipt for each in order", async (bench) => {
    const tasks = Array.from({ length: 50 }, () => bench.task());
    assert.deepEqual(
      await bench.receipts(tasks),
      tasks.map((task) => ({ id: task.id, state: "enqueued" })),
    );
    assert.deepEqual(
      await bench.takenIds(50),
      tasks.map((task) => task.id),
    );
  }),
  proves(
    "enqueue-atomic",
    "a call with an unknown dependency stores nothing and names it",
    async (bench) => {
      const good = bench.task();
      const bad = impossible(bench);
      assert.deepEqual(await bench.call([good, bad]), { state: "unknown-dependencies", taskIds: ["unknown-parent"] });
      assert.deepEqual(await bench.queue.get([good.id, bad.id]), [undefined, undefined]);
      assert.equal((await bench.counts()).ready + (await bench.counts()).blocked, 0);
      assert.equal((await bench.receipt(good)).state, "enqueued", "its ids were not taken");
    },
    ["dependencies"],
  ),
  proves(
    "enqueue-atomic",
    "a call with several unknown dependencies names all of them",
    async (bench) => {
      const answer = await bench.call([impossible(bench, "a"), bench.task(), impossible(bench, "b")]);
      assert.equal(answer.state, "unknown-dependencies");
      assert.deepEqual(answer.state === "unknown-dependencies" && [...answer.taskIds].sort(), ["a", "b"]);
    },
    ["dependencies"],
  ),
  proves(
    "enqueue-atomic",
    "a refused call takes no deduplication key",
    async (bench) => {
      const keyed = bench.task({ deduplicate: { key: "k", mode: "keep" } });
      assert.equal((await bench.call([keyed, impossible(bench)])).state, "unknown-dependencies");
      const after = bench.task({ deduplicate: { key: "k", mode: "keep" } });
      assert.deepEqual(await bench.receipt(after), { id: after.id, state: "enqueued" });
    },
    ["dependencies", "deduplication"],
  ),
  proves(
    "enqueue-atomic",
    "a refused call replaces nothing",
    async (bench) => {
      const id = await bench.add({ payload: "old", deduplicate: { key: "k", mode: "keep" }, delayMs: 60_000 });
      const replacement = bench.task({ payload: "new", deduplicate: { key: "k", mode: "replace" } });
      assert.equal((await bench.call([replacement, impossible(bench)])).state, "unknown-dependencies");
      assert.equal((await bench.get(id)).payload, "old");
    },
    ["dependencies", "deduplication"],
  ),
  proves("enqueue-atomic", "a duplicate is an answer and does not keep the others of its call out", async (bench) => {
    const known = bench.task();
    await bench.receipt(known);
    const fresh = bench.task();
    assert.deepEqual(await bench.receipts([known, fresh]), [
      { id: known.id, state: "duplicate" },
      { id: fresh.id, state: "enqueued" },
    ]);
    assert.deepEqual(await bench.takenIds(10), [known.id, fresh.id]);
  }),
  proves(
    "enqueue-atomic",
    "a dependency on a task that the same call deduplicated points to the holder",
    async (bench) => {
      const holder = await bench.add({ deduplicate: { key: "k", mode: "keep" } });
      const parent = bench.task({ deduplicate: { key: "k", mode: "keep" } });
      const child = bench.task({ dependencies: [{ taskId: parent.id, onFailure: "fail" }] });
      assert.deepEqual(await bench.receipts([parent, child]), [
        { id: holder, state: "deduplicated" },
        { id: child.id, state: "enqueued" },
      ]);
      assert.equal(await bench.state(child.id), "blocked");
      assert.deepEqual((await bench.get(child.id)).dependencies, [holder]);
      await bench.complete(await bench.takeOne(), "of the holder");
      const lease = await bench.takeOne();
      assert.equal(lease.taskId, child.id);
      assert.deepEqual(
        lease.dependencies.map((one) => [one.taskId, one.value]),
        [[holder, "of the holder"]],
      );
    },
    ["dependencies", "deduplication"],
  ),
  proves("enqueue-atomic", "a call without tasks is accepted without receipts", async (bench) => {
    assert.deepEqual(await bench.call([]), { state: "accepted", receipts: [] });
  }),
  proves("enqueue-atomic", "no calls have no answers", async (bench) =>
    assert.deepEqual(await bench.queue.enqueue([]), []),
  ),
  proves("enqueue-atomic", "a call as large as maxBatch is stored whole", async (bench) => {
    const size = Math.min(bench.queue.capabilities.maxBatch, 1_000);
    const tasks = Array.from({ length: size }, () => bench.task());
    assert.equal((await bench.receipts(tasks)).length, size);
    assert.equal((await bench.counts()).ready, size);
  }),
];

const isolated: readonly Case<TaskQueue>[] = [
  proves(
    "calls-isolated",
    "a refused call does not touch the calls before and after it",
    async (bench) => {
      const [before, after] = [bench.task(), bench.task()];
      const answers = await bench.queue.enqueue([
        { tasks: [before] },
        { tasks: [impossible(bench)] },
        { tasks: [after] },
      ]);
      assert.deepEqual(
        answers.map((one) => one.state),
        ["accepted", "unknown-dependencies", "accepted"],
      );
      assert.deepEqual(await bench.takenIds(10), [before.id, after.id]);
    },
    ["dependencies"],
  ),
  proves("calls-isolated", "calls are answered in the order asked, each with receipts of its own", async (bench) => {
    const tasks = Array.from({ length: 6 }, () => bench.task());
    const [a, b, c, d, e, f] = tasks as [NewTask, NewTask, NewTask, NewTask, NewTask, NewTask];
    const answers = await bench.queue.enqueue([{ tasks: [a, b] }, { tasks: [] }, { tasks: [c] }, { tasks: [d, e, f] }]);
    assert.deepEqual(
      answers.map((one) => one.state === "accepted" && one.receipts.map((receipt) => receipt.id)),
      [[a.id, b.id], [], [c.id], [d.id, e.id, f.id]],
    );
  }),
  proves(
    "calls-isolated",
    "a call can depend on a task of a call before it",
    async (bench) => {
      const parent = bench.task();
      const child = bench.task({ dependencies: [{ taskId: parent.id, onFailure: "fail" }] });
      const answers = await bench.queue.enqueue([{ tasks: [parent] }, { tasks: [child] }]);
      assert.deepEqual(
        answers.map((one) => one.state),
        ["accepted", "accepted"],
      );
      assert.equal(await bench.state(child.id), "blocked");
    },
    ["dependencies"],
  ),
  proves(
    "calls-isolated",
    "an unknown id among those of settle, extend, get, cancel, retry and remove does not touch the others",
    async (bench) => {
      const [a, b] = [await bench.add(), await bench.add()];
      const leases = await bench.take(2, { leaseMs: 60_000 });
      const [one, two] = leases;
      assert.ok(one && two);
      const foreign = { ...one, taskId: "nobody", token: "no" };
      assert.deepEqual(
        (await bench.queue.extend([one, foreign, two], 60_000)).map((state) => state.state),
        ["held", "lost", "held"],
      );
      assert.deepEqual(
        (await bench.queue.get([a, "nobody", b])).map((task) => task?.id),
        [a, undefined, b],
      );
      const end = { outcome: "failed", storeResult: false, error: "{}" } as const;
      const settled = await bench.queue.settle(
        [one, foreign, two].map(({ taskId, queue, token, run, attempt }) => ({
          taskId,
          queue,
          token,
          run,
          attempt,
          ...end,
        })),
      );
      assert.deepEqual(settled, ["settled", "lost", "settled"]);
      assert.deepEqual(await bench.queue.retry(["nobody", a]), ["unknown", "retried"]);
      assert.deepEqual(await bench.queue.cancel(["nobody", a]), ["unknown", "cancelled"]);
      assert.deepEqual(await bench.queue.remove(["nobody", b]), ["unknown", "removed"]);
    },
  ),
  proves(
    "calls-isolated",
    "calls made at the same time are each answered for themselves",
    async (bench) => {
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          index % 3 === 0 ? bench.call([impossible(bench)]) : bench.call([bench.task()]),
        ),
      );
      assert.deepEqual(
        answers.map((one) => one.state),
        Array.from({ length: 30 }, (_, index) => (index % 3 === 0 ? "unknown-dependencies" : "accepted")),
      );
      assert.equal((await bench.counts()).ready, 20);
    },
    ["dependencies"],
  ),
  proves("calls-isolated", "an empty list of items is answered with an empty list", async (bench) => {
    const { queue } = bench;
    assert.deepEqual(
      await Promise.all([
        queue.settle([]),
        queue.extend([], 1_000),
        queue.get([]),
        queue.cancel([]),
        queue.retry([]),
        queue.remove([]),
      ]),
      [[], [], [], [], [], []],
    );
    await queue.record([]);
    assert.equal(await queue.purge("main", []), 0);
  }),
];

/** Storing tasks. */
export const enqueueCases: readonly Case<TaskQueue>[] = [
  ...durable,
  ...idempotent,
  ...freedIdCases,
  ...atomic,
  ...isolated,
];
