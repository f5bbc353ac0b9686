// Cases of `bounded-bytes`: what a reserve with `maxBytes` gives, what it leaves, and that nothing is charged for what it left.
import assert from "node:assert/strict";
import type { Lease, NewTask, ReserveRequest, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, type Feature, proves, reference } from "./bench.ts";
import { awaitedLater } from "../conduct/waiting.ts";

/** A payload of as many bytes as characters. */
const ofSize = (bytes: number): Partial<NewTask> => ({ payload: "x".repeat(bytes) });
const sizeOf = (leases: readonly Lease[]): number =>
  leases.reduce(
    (sum, { task, dependencies }) =>
      sum + task.payload.length + dependencies.reduce((values, one) => values + (one.value?.length ?? 0), 0),
    0,
  );
const idsOf = (leases: readonly Lease[]): readonly string[] => leases.map((lease) => lease.taskId);

type Reserve = (maxBytes: number | undefined, overrides?: Partial<ReserveRequest>) => Promise<readonly Lease[]>;

/** Reserves by the plain verb. */
const plainly =
  (bench: Bench): Reserve =>
  (maxBytes, overrides = {}) =>
    bench.take(10, { leaseMs: 60_000, maxBytes, ...overrides });

/** Reserves together with the settlement of a task of another queue. */
const jointly =
  (bench: Bench): Reserve =>
  async (maxBytes, overrides = {}) => {
    await bench.add({ queue: "settled with it" });
    const lease = await bench.takeOne({ queues: ["settled with it"] });
    const answer = await bench.queue.settleAndReserve?.(
      [{ ...reference(lease), outcome: "completed", storeResult: false }],
      { queues: ["main"], limit: 10, leaseMs: 60_000, waitMs: 0, worker: "bench", maxBytes, ...overrides },
    );
    assert.deepEqual(answer?.states, ["settled"]);
    return answer.leases;
  };

/** One case for each verb that reserves. */
function each(
  title: string,
  run: (bench: Bench, reserve: Reserve) => Promise<void>,
  needs: readonly Feature[] = [],
): readonly Case<TaskQueue>[] {
  const joint = proves("bounded-bytes", `settleAndReserve: ${title}`, (bench) => run(bench, jointly(bench)), needs);
  return [
    proves("bounded-bytes", title, (bench) => run(bench, plainly(bench)), needs),
    {
      ...joint,
      unless: (world, queue) =>
        queue.settleAndReserve === undefined ? "the queue has no settleAndReserve" : joint.unless?.(world, queue),
    },
  ];
}
const prove = (title: string, run: (bench: Bench) => Promise<void>, needs: readonly Feature[] = []): Case<TaskQueue> =>
  proves("bounded-bytes", title, run, needs);

const both: readonly Case<TaskQueue>[] = [
  ...each("stops before the leases have more bytes in all; the rest is ready, in its place", async (bench, reserve) => {
    const tasks = Array.from({ length: 5 }, () => bench.task(ofSize(1_000)));
    await bench.receipts(tasks);
    const ids = tasks.map((task) => task.id);
    assert.deepEqual(idsOf(await reserve(2_500)), ids.slice(0, 2));
    assert.deepEqual(await bench.takenIds(10), ids.slice(2));
  }),
  ...each("gives one lease though that alone has more bytes, and no second one", async (bench, reserve) => {
    const big = await bench.add(ofSize(5_000));
    const small = await bench.add(ofSize(10));
    assert.deepEqual(idsOf(await reserve(1_000)), [big]);
    assert.deepEqual(idsOf(await reserve(1_000)), [small]);
  }),
  ...each("a bound of one byte gives one task after the other, in order", async (bench, reserve) => {
    const ids = [await bench.add(), await bench.add(), await bench.add()];
    for (const id of ids) assert.deepEqual(idsOf(await reserve(1)), [id]);
    assert.deepEqual(idsOf(await reserve(1)), []);
  }),
  ...each("does not pass over a task that is too large for what is left of the bound", async (bench, reserve) => {
    const ids = [await bench.add(ofSize(10)), await bench.add(ofSize(5_000)), await bench.add(ofSize(10))];
    assert.deepEqual(idsOf(await reserve(1_000)), [ids[0]]);
    assert.deepEqual(idsOf(await reserve(1_000)), [ids[1]]);
    assert.deepEqual(idsOf(await reserve(1_000)), [ids[2]]);
  }),
  ...each("the bound holds across the queues of a request", async (bench, reserve) => {
    const queues = ["a", "b"];
    const a = [await bench.add({ queue: "a", ...ofSize(600) }), await bench.add({ queue: "a", ...ofSize(600) })];
    const b = await bench.add({ queue: "b", ...ofSize(10) });
    assert.deepEqual(idsOf(await reserve(1_000, { queues })), [a[0]]);
    assert.deepEqual(idsOf(await reserve(1_000, { queues })), [a[1], b]);
  }),
  ...each("what it left is as it was: no attempt charged, not started, counted as ready", async (bench, reserve) => {
    const ids = [await bench.add(ofSize(1_000)), await bench.add(ofSize(1_000))];
    const before = await bench.get(ids[1] as string);
    assert.deepEqual(idsOf(await reserve(1_500)), [ids[0]]);
    assert.deepEqual(await bench.get(ids[1] as string), before);
    const { ready, active } = await bench.counts();
    assert.deepEqual([ready, active], [1, 1]);
  }),
  ...each(
    "what it left takes no slot of its group",
    async (bench, reserve) => {
      const first = await bench.add(ofSize(1_000));
      const left = await bench.add({ ...ofSize(1_000), group: { key: "g", limit: 1 } });
      assert.deepEqual(idsOf(await reserve(1_500)), [first]);
      assert.deepEqual(await bench.takenIds(10), [left]);
    },
    ["groups"],
  ),
  ...each(
    "what it left does not count as active of its queue",
    async (bench, reserve) => {
      await bench.queue.configureQueue("main", { maxActive: 2 });
      const ids = [await bench.add(ofSize(1_000)), await bench.add(ofSize(1_000)), await bench.add(ofSize(1_000))];
      assert.deepEqual(idsOf(await reserve(1_500)), [ids[0]]);
      assert.deepEqual(idsOf(await reserve(10_000)), [ids[1]]);
    },
    ["queueLimits"],
  ),
  ...each(
    "what it left is no start of the queue's rate",
    async (bench, reserve) => {
      await bench.queue.configureQueue("main", { rateLimit: { limit: 3, windowMs: 600_000 } });
      const tasks = Array.from({ length: 4 }, () => bench.task(ofSize(1_000)));
      await bench.receipts(tasks);
      const ids = tasks.map((task) => task.id);
      assert.deepEqual(idsOf(await reserve(1_500)), [ids[0]]);
      assert.deepEqual(idsOf(await reserve(10_000)), [ids[1], ids[2]]);
    },
    ["rateLimits"],
  ),
  ...each(
    "the values of dependencies count",
    async (bench, reserve) => {
      const children = [];
      for (let index = 0; index < 3; index++) {
        const parent = await bench.add({ queue: "parents" });
        children.push(await bench.add({ dependencies: [{ taskId: parent, onFailure: "fail" }] }));
        await bench.complete(await bench.takeOne({ queues: ["parents"] }), "v".repeat(2_000));
        await bench.pass(2);
      }
      const leases = await reserve(3_000);
      assert.deepEqual(idsOf(leases), children.slice(0, 1));
      assert.equal(leases[0]?.dependencies[0]?.value?.length, 2_000);
      assert.deepEqual(idsOf(await reserve(5_000)), children.slice(1));
    },
    ["dependencies"],
  ),
  ...each(
    "priority decides what comes before the bound",
    async (bench, reserve) => {
      const low = await bench.add(ofSize(10));
      const high = await bench.add({ ...ofSize(5_000), priority: 5 });
      assert.deepEqual(idsOf(await reserve(1_000)), [high]);
      assert.deepEqual(idsOf(await reserve(1_000)), [low]);
    },
    ["priorities"],
  ),
  ...each("without a bound, and with one that is not reached, limit alone counts", async (bench, reserve) => {
    await bench.receipts(Array.from({ length: 9 }, () => bench.task(ofSize(10_000))));
    assert.equal((await reserve(undefined, { limit: 4 })).length, 4);
    assert.equal((await reserve(1e9, { limit: 2 })).length, 2);
    assert.equal((await reserve(Number.MAX_SAFE_INTEGER)).length, 3);
  }),
];

const alone: readonly Case<TaskQueue>[] = [
  prove("a reserve that waits keeps its bound when many tasks come at once", async (bench) => {
    const handed: Lease[] = [];
    const waiting = awaitedLater(
      bench.queue.reserve(
        { queues: ["main"], limit: 10, leaseMs: 60_000, waitMs: 10_000, worker: "bench", maxBytes: 2_500 },
        { onLeases: (leases) => void handed.push(...leases) },
      ),
    );
    const tasks = Array.from({ length: 5 }, () => bench.task(ofSize(1_000)));
    await bench.receipts(tasks);
    const taken = [...(await waiting), ...handed];
    assert.ok(taken.length > 0 && sizeOf(taken) <= 2_500, `${taken.length} leases of ${sizeOf(taken)} bytes`);
    assert.deepEqual(
      [...idsOf(taken), ...(await bench.takenIds(10))],
      tasks.map((task) => task.id),
    );
  }),
  prove("a backlog is drained in order, each reserve inside its bound", async (bench) => {
    const size = Math.min(200, bench.queue.capabilities.maxBatch);
    const tasks = Array.from({ length: size }, (_value, index) => bench.task(ofSize(1_000 + (index % 7) * 700)));
    await bench.receipts(tasks);
    const taken: string[] = [];
    while (taken.length < size) {
      const leases = await bench.take(100, { leaseMs: 60_000, maxBytes: 20_000 });
      assert.ok(leases.length > 0, "something is ready");
      assert.ok(sizeOf(leases) <= 20_000, `${leases.length} leases of ${sizeOf(leases)} bytes`);
      assert.ok(taken.length + leases.length === size || sizeOf(leases) > 14_000, "it takes what fits");
      taken.push(...idsOf(leases));
    }
    assert.deepEqual(
      taken,
      tasks.map((task) => task.id),
    );
  }),
  prove("racing connections with bounds get every task exactly once", async (bench) => {
    const other = (await bench.world.open()).taskQueue?.();
    assert.ok(other);
    const tasks = Array.from({ length: 60 }, (_value, index) => bench.task(ofSize(index % 5 === 0 ? 3_000 : 200)));
    await bench.receipts(tasks);
    const taken: string[] = [];
    await Promise.all(
      [bench, bench.on(other), bench, bench.on(other)].map(async (one) => {
        for (let round = 0; round < 100; round++) {
          const leases = await one.take(10, { leaseMs: 60_000, maxBytes: 1_000 });
          if (leases.length === 0) return;
          assert.ok(leases.length === 1 || sizeOf(leases) <= 1_000, `${sizeOf(leases)} bytes`);
          taken.push(...idsOf(leases));
        }
      }),
    );
    assert.deepEqual(taken.sort(), tasks.map((task) => task.id).sort());
  }),
  prove("texts of many bytes a character are bounded by their bytes or their characters", async (bench) => {
    const tasks = Array.from({ length: 6 }, () => bench.task({ payload: "語".repeat(1_000) }));
    await bench.receipts(tasks);
    const leases = await bench.take(10, { leaseMs: 60_000, maxBytes: 4_000 });
    assert.ok(leases.length >= 1 && leases.length <= 4, `${leases.length} leases`);
    assert.equal((await bench.take(10)).length, 6 - leases.length);
  }),
];

/** Leases bounded by bytes. */
export const boundedBytesCases: readonly Case<TaskQueue>[] = [...both, ...alone];
