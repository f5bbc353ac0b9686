// Cases of waiting: a reserve that waits returns soon after a task becomes ready, and takes nothing when it is aborted.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lease, ReserveRequest, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

/** How long a waiting call may take to answer; a queue that does not wake answers after `waitMs`. */
const soonMs = 5_000;
const waitMs = 12_000;

/** A reserve that waits is answered with a lease soon after `act`. */
async function wakes(
  bench: Bench,
  act: () => Promise<unknown>,
  overrides: Partial<ReserveRequest> = {},
): Promise<Lease> {
  const stop = new AbortController();
  const request = { queues: ["main"], limit: 1, leaseMs: 60_000, waitMs, worker: "waiter", ...overrides };
  const waiting = awaitedLater(bench.queue.reserve(request, { signal: stop.signal }));
  waiting.catch(() => undefined);
  try {
    assert.equal(
      await Promise.race([waiting.then(() => "answered"), sleep(30, "waits")]),
      "waits",
      "nothing is ready, so it waits",
    );
    await act();
    const leases = await Promise.race([waiting, sleep(soonMs, undefined, { ref: false })]);
    assert.ok(leases, "the waiting reserve was woken");
    assert.equal(leases.length, 1);
    return leases[0] as Lease;
  } finally {
    stop.abort(new Error("the case is over"));
  }
}

interface Waking {
  readonly title: string;
  readonly needs?: readonly Feature[];
  /** Prepares, and gives what makes a task ready. */
  readonly prepare: (bench: Bench) => Promise<() => Promise<unknown>>;
}

const wakings: readonly Waking[] = [
  { title: "a task is enqueued", prepare: async (bench) => () => bench.add() },
  {
    title: "a task is enqueued through another connection",
    prepare: async (bench) => {
      const other = (await bench.world.open()).taskQueue?.();
      assert.ok(other);
      return () => other.enqueue([{ tasks: [bench.task()] }]);
    },
  },
  {
    title: "a scheduled task is due",
    prepare: async (bench) => {
      await bench.add({ delayMs: 150 });
      return () => bench.pass(150);
    },
  },
  {
    title: "a task with a short delay is enqueued",
    prepare: async (bench) => async () => {
      await bench.add({ delayMs: 60 });
      await bench.pass(60);
    },
  },
  {
    title: "a retry is due",
    prepare: async (bench) => {
      await bench.add();
      await bench.retryLater(await bench.takeOne(), 150);
      return () => bench.pass(150);
    },
  },
  {
    title: "a task is retried without delay",
    prepare: async (bench) => {
      await bench.add();
      const lease = await bench.takeOne();
      return () => bench.retryLater(lease, 0);
    },
  },
  {
    title: "a lease is released",
    prepare: async (bench) => {
      await bench.add();
      const lease = await bench.takeOne();
      return () => bench.release(lease);
    },
  },
  {
    title: "a task that was released with a delay is due",
    prepare: async (bench) => {
      await bench.add();
      const lease = await bench.takeOne();
      return async () => {
        assert.equal(await bench.settle({ ...reference(lease), outcome: "release", delayMs: 150 }), "settled");
        await bench.pass(150);
      };
    },
  },
  {
    title: "a lease runs out",
    prepare: async (bench) => {
      await bench.add();
      assert.equal((await bench.take(1)).length, 1);
      return async () => {
        await bench.runOut();
        // The second step is the pause before redelivery, which starts when the dead lease is noticed.
        if (!bench.world.clock.controlled) return;
        await bench.queue.sweep(10);
        await bench.pass(1_000);
      };
    },
  },
  {
    title: "the queue is resumed",
    prepare: async (bench) => {
      await bench.queue.pause("main");
      await bench.add();
      return () => bench.queue.resume("main");
    },
  },
  {
    title: "a dead letter is retried",
    prepare: async (bench) => {
      const id = await bench.addDeadLetter();
      return () => bench.retry(id);
    },
  },
  {
    title: "the last dependency completes",
    needs: ["dependencies"],
    prepare: async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      await bench.add({ dependencies: [{ taskId: parent, onFailure: "fail" }] });
      const lease = await bench.takeOne({ queues: ["parents"] });
      return () => bench.complete(lease);
    },
  },
  {
    title: "a cancelled dependency is recorded",
    needs: ["dependencies"],
    prepare: async (bench) => {
      const parent = await bench.add({ queue: "parents" });
      await bench.add({ dependencies: [{ taskId: parent, onFailure: "run" }] });
      await bench.cancel(parent);
      return () => bench.record(parent);
    },
  },
  {
    title: "its group has room",
    needs: ["groups"],
    prepare: async (bench) => {
      const group = { key: "g", limit: 1 };
      await bench.add({ group });
      await bench.add({ group });
      const lease = await bench.takeOne();
      return () => bench.complete(lease);
    },
  },
  {
    title: "its queue has room",
    needs: ["queueLimits"],
    prepare: async (bench) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.add();
      await bench.add();
      const lease = await bench.takeOne();
      return () => bench.complete(lease);
    },
  },
  {
    title: "the queue's limit is lifted",
    needs: ["queueLimits"],
    prepare: async (bench) => {
      await bench.queue.configureQueue("main", { maxActive: 1 });
      await bench.add();
      await bench.add();
      await bench.takeOne();
      return () => bench.queue.configureQueue("main", { maxActive: null });
    },
  },
  {
    title: "the rate allows the next start",
    needs: ["rateLimits"],
    prepare: async (bench) => {
      await bench.queue.configureQueue("main", { rateLimit: { limit: 1, windowMs: 400 } });
      await bench.add();
      await bench.add();
      await bench.takeOne();
      return () => bench.pass(400);
    },
  },
];

/** Waiting and waking. */
export const wakeUpCases: readonly Case<TaskQueue>[] = [
  ...wakings.map(({ title, needs, prepare }) =>
    proves(
      "wake-up",
      `a waiting reserve returns soon after ${title}`,
      async (bench) => {
        const act = await prepare(bench);
        await wakes(bench, act);
      },
      needs,
    ),
  ),
  proves("wake-up", "a reserve that waits for several queues is woken by the last of them", async (bench) => {
    const lease = await wakes(bench, () => bench.add({ queue: "third" }), { queues: ["first", "second", "third"] });
    assert.equal(lease.queue, "third");
  }),
  proves("wake-up", "two that wait each get one of two tasks", async (bench) => {
    const leases = await Promise.all([wakes(bench, () => bench.add()), wakes(bench, () => bench.add())]);
    assert.equal(new Set(leases.map((lease) => lease.taskId)).size, 2);
  }),
  proves(
    "wake-up",
    "the second waits on when the first that was woken takes only one of two tasks stored at once",
    async (bench) => {
      const both = [bench.task(), bench.task()];
      // Both wait before the tasks are stored.
      const store = async (): Promise<void> => {
        await sleep(100);
        await bench.receipts(both);
      };
      const leases = await Promise.all([wakes(bench, store), wakes(bench, async () => undefined)]);
      assert.deepEqual(leases.map((lease) => lease.taskId).sort(), both.map((task) => task.id).sort());
    },
  ),
  proves("wake-up", "what one that waits leaves because of maxBytes goes to the other that waits", async (bench) => {
    const both = [bench.task({ payload: "x".repeat(1_000) }), bench.task({ payload: "x".repeat(1_000) })];
    const bound = { limit: 10, maxBytes: 1_500 };
    const store = async (): Promise<void> => {
      await sleep(100);
      await bench.receipts(both);
    };
    const leases = await Promise.all([wakes(bench, store, bound), wakes(bench, async () => undefined, bound)]);
    assert.deepEqual(leases.map((lease) => lease.taskId).sort(), both.map((task) => task.id).sort());
  }),
  proves("wake-up", "a reserve that may wait answers at once when something is ready", async (bench) => {
    const id = await bench.add();
    assert.deepEqual(await bench.takenIds(1, { waitMs: 60_000 }), [id]);
  }),
  proves("wake-up", "after waitMs without a task the answer is empty", async (bench) => {
    await bench.add({ queue: "other" });
    assert.deepEqual(await bench.take(1, { waitMs: 60 }), []);
  }),
  proves("wake-up", "an aborted wait rejects with the signal's reason and takes nothing", async (bench) => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const waiting = awaitedLater(
      bench.queue.reserve(
        { queues: ["main"], limit: 1, leaseMs: 60_000, waitMs: 10_000, worker: "waiter" },
        { signal: stop.signal },
      ),
    );
    const rejected = assert.rejects(waiting, (error) => error === reason);
    await sleep(20);
    stop.abort(reason);
    await rejected;
    const id = await bench.add();
    await sleep(20);
    assert.deepEqual(await bench.takenIds(1), [id]);
  }),
  proves(
    "wake-up",
    "a reserve whose signal is aborted already rejects with its reason and takes nothing",
    async (bench) => {
      const id = await bench.add();
      const reason = new Error("enough");
      const request = { queues: ["main"], limit: 1, leaseMs: 60_000, waitMs: 0, worker: "waiter" };
      await assert.rejects(
        bench.queue.reserve(request, { signal: AbortSignal.abort(reason) }),
        (error) => error === reason,
      );
      assert.deepEqual(await bench.takenIds(1), [id]);
    },
  ),
];
