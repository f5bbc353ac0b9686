// Cases of the order in which tasks are given.
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";
import type { Lease, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, marginMs, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

/** How one consumer takes its next task, with the one before settled. */
type Next = (before: Lease | undefined) => Promise<Lease>;

/** A consumer that has one task at a time, by each verb and by waiting or not; a producer on another connection is under way. */
const consumers: Readonly<Record<string, (bench: Bench) => Next>> = {
  "settles, then reserves": (bench) => async (before) => {
    if (before !== undefined) await bench.complete(before);
    return bench.takeOne({ waitMs: 10_000 });
  },
  "settles while it reserves": (bench) => async (before) => {
    const [lease] = await Promise.all([
      bench.takeOne({ waitMs: 10_000 }),
      before === undefined ? undefined : bench.complete(before),
    ]);
    return lease;
  },
  "settles and reserves in one call": (bench) => async (before) => {
    const request = { queues: ["main"], limit: 1, leaseMs: 60_000, waitMs: 0, worker: "bench" };
    if (before === undefined || bench.queue.settleAndReserve === undefined) {
      if (before !== undefined) await bench.complete(before);
      return bench.takeOne({ waitMs: 10_000 });
    }
    const settlement = { ...reference(before), outcome: "completed", storeResult: false } as const;
    const { leases } = await bench.queue.settleAndReserve([settlement], request);
    return leases[0] ?? bench.takeOne({ waitMs: 10_000 });
  },
  "is handed its leases": (bench) => async (before) => {
    if (before !== undefined) await bench.complete(before);
    const handed: Lease[] = [];
    const request = { queues: ["main"], limit: 1, leaseMs: 60_000, waitMs: 10_000, worker: "bench" };
    const leases = await bench.queue.reserve(request, { onLeases: (given) => void handed.push(...given) });
    return [...handed, ...leases][0] ?? assert.fail("a task is ready");
  },
};

const oneByOne: readonly Case<TaskQueue>[] = Object.entries(consumers).map(([how, make]) =>
  proves("order", `a consumer of one task at a time that ${how} gets them first in, first out`, async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const producer = bench.on(other);
    const next = make(bench);
    const [ids, count]: [string[], number] = [[], 60];
    const produce = async (): Promise<void> => {
      for (let index = 0; index < count; index++) {
        // What core enqueues by itself, one at a time, may go another way than the rest.
        const task = producer.task({ id: `${how} ${index}` });
        ids.push(task.id);
        await producer.queue.enqueue([{ tasks: [task], generatedIds: index % 3 !== 0 }]);
      }
    };
    const producing = awaitedLater(produce());
    const taken: string[] = [];
    let lease: Lease | undefined;
    while (taken.length < count) {
      lease = await next(lease);
      taken.push(lease.taskId);
    }
    await producing;
    assert.deepEqual(taken, ids);
  }),
);

/** Inside a queue and across queues. */
export const orderCases: readonly Case<TaskQueue>[] = [
  ...oneByOne,
  proves("order", "tasks of calls with generated ids and without are given in enqueue order", async (bench) => {
    const tasks = Array.from({ length: 12 }, () => bench.task());
    for (const [index, task] of tasks.entries())
      await bench.queue.enqueue([{ tasks: [task], generatedIds: index % 2 === 0 }]);
    const taken = [];
    for (let index = 0; index < tasks.length; index++) taken.push((await bench.takeOne()).taskId);
    assert.deepEqual(
      taken,
      tasks.map((task) => task.id),
    );
  }),
  proves("order", "tasks of one call are given in their order", async (bench) => {
    const tasks = Array.from({ length: 20 }, () => bench.task());
    await bench.receipts(tasks);
    assert.deepEqual(
      await bench.takenIds(20),
      tasks.map((task) => task.id),
    );
  }),
  proves("order", "tasks of many calls are given in enqueue order, one by one", async (bench) => {
    const ids = [];
    for (let index = 0; index < 10; index++) ids.push(await bench.add());
    const taken = [];
    for (let index = 0; index < 10; index++) taken.push((await bench.takeOne()).taskId);
    assert.deepEqual(taken, ids);
  }),
  proves("order", "calls of one batch are given in the batch's order", async (bench) => {
    const tasks = Array.from({ length: 8 }, () => bench.task());
    await bench.queue.enqueue(tasks.map((task) => ({ tasks: [task] })));
    assert.deepEqual(
      await bench.takenIds(10),
      tasks.map((task) => task.id),
    );
  }),
  proves(
    "order",
    "higher priority comes first, and equal ones in enqueue order",
    async (bench) => {
      const priorities = [0, 5, -5, 1_000, 0, 5, -1_000, 1];
      const tasks = priorities.map((priority) => bench.task({ priority }));
      await bench.receipts(tasks);
      const expected = tasks
        .map((task, index) => ({ task, index }))
        .sort((a, b) => b.task.priority - a.task.priority || a.index - b.index)
        .map(({ task }) => task.id);
      assert.deepEqual(await bench.takenIds(10), expected);
    },
    ["priorities"],
  ),
  proves(
    "order",
    "a task of higher priority that comes later overtakes those that wait",
    async (bench) => {
      const low = await bench.add();
      const high = await bench.add({ priority: 1 });
      assert.deepEqual([await bench.takenIds(1), await bench.takenIds(1)], [[high], [low]]);
    },
    ["priorities"],
  ),
  proves(
    "order",
    "of tasks that are enqueued at once the urgent one is given first, however a reserve falls in between",
    async (bench) => {
      const other = (await bench.world.open()).taskQueue?.();
      assert.ok(other);
      const [consumer, sets] = [bench.on(other), 200];
      const taken: string[] = [];
      // It looks without a pause, so that some of its looks are under way as a set is stored.
      const consume = async (): Promise<void> => {
        while (taken.length < 2 * sets) {
          const leases = await consumer.take(1 + (taken.length % 2), { leaseMs: 60_000 });
          taken.push(...leases.map((lease) => lease.taskId));
          await Promise.all(leases.map((lease) => consumer.complete(lease)));
          await setImmediate();
        }
      };
      const produce = async (): Promise<void> => {
        for (let set = 0; set < sets; set++) {
          await bench.receipts([bench.task({ id: `calm ${set}` }), bench.task({ id: `urgent ${set}`, priority: 5 })]);
          // A backlog would keep what is enqueued apart from what is taken.
          while (taken.length < 2 * set) await setImmediate();
        }
      };
      await Promise.all([consume(), produce()]);
      const places = new Map(taken.map((id, place) => [id, place]));
      const place = (id: string): number => places.get(id) ?? assert.fail(`${id} was never given`);
      const late = Array.from({ length: sets }, (_value, set) => set).filter(
        (set) => place(`urgent ${set}`) > place(`calm ${set}`),
      );
      assert.deepEqual(late, [], "sets of which the calm task came first");
    },
    ["priorities"],
  ),
  proves("order", "scheduled tasks are given in the order of runAt, not of enqueue", async (bench) => {
    // Where time is real, far enough ahead that all are enqueued before the first is due.
    const aheadMs = bench.world.clock.controlled ? 60 : 1_000;
    const due = bench.world.clock.now() + aheadMs;
    const third = await bench.add({ runAt: due + 3 });
    const first = await bench.add({ runAt: due + 1 });
    const second = await bench.add({ runAt: due + 2 });
    await bench.pass(aheadMs + 3 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [first, second, third]);
  }),
  proves(
    "order",
    "a task that was due before another was enqueued comes first, though it is promoted later",
    async (bench) => {
      const due = await bench.add({ delayMs: 20 });
      await bench.pass(20 + marginMs);
      const later = await bench.add();
      assert.deepEqual(await bench.takenIds(10), [due, later]);
    },
  ),
  proves("order", "a retry comes after what was ready before it was due", async (bench) => {
    const failing = await bench.add();
    const lease = await bench.takeOne();
    const other = await bench.add();
    await bench.pass(5);
    await bench.retryLater(lease, 20);
    await bench.pass(20 + marginMs);
    assert.deepEqual(await bench.takenIds(10), [other, failing]);
  }),
  proves(
    "order",
    "an unblocked task comes after what was ready before it was unblocked",
    async (bench) => {
      const parent = await bench.add();
      const child = await bench.add({ dependencies: [{ taskId: parent, onFailure: "fail" }] });
      const lease = await bench.takeOne();
      const other = await bench.add();
      await bench.pass(5);
      await bench.complete(lease);
      assert.deepEqual(await bench.takenIds(10), [other, child]);
    },
    ["dependencies"],
  ),
  proves("order", "queues are drained in the order that the request lists them", async (bench) => {
    const b = await bench.add({ queue: "b" });
    const a = await bench.add({ queue: "a" });
    const b2 = await bench.add({ queue: "b" });
    assert.deepEqual(await bench.takenIds(10, { queues: ["a", "b"] }), [a, b, b2]);
  }),
  proves(
    "order",
    "priority does not count across queues",
    async (bench) => {
      const high = await bench.add({ queue: "b", priority: 1_000 });
      const low = await bench.add({ queue: "a", priority: -1_000 });
      assert.deepEqual(await bench.takenIds(10, { queues: ["a", "b"] }), [low, high]);
    },
    ["priorities"],
  ),
  proves("order", "the same queues in another order are drained in that order", async (bench) => {
    const a = await bench.add({ queue: "a" });
    const b = await bench.add({ queue: "b" });
    assert.deepEqual(await bench.takenIds(10, { queues: ["b", "a"] }), [b, a]);
  }),
  proves("order", "queues that were not asked for give nothing", async (bench) => {
    await bench.add({ queue: "b" });
    await bench.none({ queues: ["a", "c"] });
    assert.equal((await bench.counts("b")).ready, 1);
  }),
  proves("order", "a small limit takes from the first queue before the second", async (bench) => {
    for (let index = 0; index < 3; index++) {
      await bench.add({ queue: "b" });
      await bench.add({ queue: "a" });
    }
    const leases = [...(await bench.take(2, { queues: ["a", "b"] })), ...(await bench.take(2, { queues: ["a", "b"] }))];
    assert.deepEqual(
      leases.map((lease) => lease.queue),
      ["a", "a", "a", "b"],
    );
  }),
  proves("order", "a retried dead letter is ready now, after what waits already", async (bench) => {
    const dead = await bench.addDeadLetter();
    const waiting = await bench.add();
    await bench.pass(5);
    await bench.retry(dead);
    assert.deepEqual(await bench.takenIds(10), [waiting, dead]);
  }),
];
