// Cases of `cancel-push`: whoever listens hears of active tasks whose cancel was asked for, and hears only hints.
import assert from "node:assert/strict";
import type { Lease, TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { type Bench, proves } from "./bench.ts";
import { settleDown, within } from "../conduct/waiting.ts";

/** A queue has two seconds to tell; a busy machine is given some more. */
const soonMs = 2_000;
const graceMs = 2_000;

const lacks = (queue: TaskQueue): string | undefined =>
  queue.onCancel === undefined ? "the queue has no onCancel" : undefined;
const prove = (title: string, run: (bench: Bench) => Promise<void>): Case<TaskQueue> => ({
  ...proves("cancel-push", title, run),
  unless: (_world, queue) => lacks(queue),
});

/** What a listener has heard. */
class Heard {
  readonly ids: Set<string> = new Set();
  readonly stop: () => void;
  #changed: () => void = () => undefined;

  constructor(queue: TaskQueue) {
    const stop = queue.onCancel?.((ids) => {
      for (const id of ids) this.ids.add(id);
      this.#changed();
    });
    assert.ok(stop, "onCancel gives what ends it");
    this.stop = stop;
  }

  /** Resolves when all of these were heard. */
  async of(ids: readonly string[], ms: number = soonMs + graceMs): Promise<void> {
    const all = new Promise<void>((resolve) => {
      this.#changed = () => {
        if (ids.every((id) => this.ids.has(id))) resolve();
      };
      this.#changed();
    });
    await within(all, `word of ${ids.length} cancels`, ms);
  }
}

async function secondQueue(bench: Bench): Promise<TaskQueue> {
  const other = (await bench.world.open()).taskQueue?.();
  assert.ok(other);
  return other;
}

/** Active tasks, as many as asked for. */
async function active(bench: Bench, count: number): Promise<readonly Lease[]> {
  const most = Math.min(bench.queue.capabilities.maxBatch, 500);
  const leases: Lease[] = [];
  for (let done = 0; done < count; done += most)
    await bench.receipts(Array.from({ length: Math.min(most, count - done) }, () => bench.task()));
  while (leases.length < count) {
    const more = await bench.take(most, { leaseMs: 600_000 });
    assert.ok(more.length > 0, "a task is ready");
    leases.push(...more);
  }
  return leases;
}

/** Cancelling the way a listener hears of it. */
export const cancelPushCases: readonly Case<TaskQueue>[] = [
  prove("a listener hears of a task whose cancel the same connection asked for", async (bench) => {
    const heard = new Heard(bench.queue);
    const id = await bench.add();
    const lease = await bench.takeOne();
    assert.equal(await bench.cancel(id), "cancelling");
    await heard.of([id]);
    assert.equal((await bench.extend(lease, 60_000)).state, "cancelling");
    heard.stop();
  }),
  prove("a listener on another connection hears, whoever holds the lease", async (bench) => {
    const other = await secondQueue(bench);
    const heard = new Heard(other);
    const id = await bench.add();
    const lease = await bench.on(other).takeOne();
    assert.equal(await bench.cancel(id), "cancelling");
    await heard.of([id]);
    assert.equal((await bench.on(other).extend(lease, 60_000)).state, "cancelling");
    heard.stop();
  }),
  prove("a listener that came after the lease was given hears", async (bench) => {
    const id = await bench.add();
    await bench.takeOne();
    const heard = new Heard(await secondQueue(bench));
    await settleDown();
    assert.equal(await bench.cancel(id), "cancelling");
    await heard.of([id]);
    heard.stop();
  }),
  prove("every listener hears, on each connection", async (bench) => {
    const other = await secondQueue(bench);
    const all = [new Heard(bench.queue), new Heard(bench.queue), new Heard(other), new Heard(other)];
    const ids = (await active(bench, 3)).map((lease) => lease.taskId);
    assert.deepEqual(new Set(await bench.queue.cancel(ids)), new Set(["cancelling"]));
    await Promise.all(all.map((heard) => heard.of(ids)));
    for (const heard of all) heard.stop();
  }),
  prove("a thousand cancels in two hundred calls at once are all heard", async (bench) => {
    const heard = new Heard(await secondQueue(bench));
    const ids = (await active(bench, 1_000)).map((lease) => lease.taskId);
    const calls = Array.from({ length: 200 }, (_value, index) => ids.slice(index * 5, index * 5 + 5));
    const states = await Promise.all(calls.map((five) => bench.queue.cancel(five)));
    assert.deepEqual(new Set(states.flat()), new Set(["cancelling"]));
    await heard.of(ids, 15_000);
    heard.stop();
  }),
  prove("a thousand cancels in one batch are all heard", async (bench) => {
    const heard = new Heard(await secondQueue(bench));
    const ids = (await active(bench, 1_000)).map((lease) => lease.taskId);
    const most = Math.min(bench.queue.capabilities.maxBatch, 1_000);
    for (let done = 0; done < ids.length; done += most) await bench.queue.cancel(ids.slice(done, done + most));
    await heard.of(ids, 15_000);
    heard.stop();
  }),
  prove("a listener that was ended hears nothing more, and the others go on", async (bench) => {
    const [ended, going] = [new Heard(bench.queue), new Heard(bench.queue)];
    const [first, second] = (await active(bench, 2)).map((lease) => lease.taskId) as [string, string];
    await bench.cancel(first);
    await Promise.all([ended.of([first]), going.of([first])]);
    ended.stop();
    ended.stop();
    await bench.cancel(second);
    await going.of([second]);
    assert.deepEqual([...ended.ids], [first]);
    going.stop();
  }),
  prove("one function that listens twice is ended once at a time", async (bench) => {
    let calls = 0;
    const listener = (): void => void (calls += 1);
    const stops = [bench.queue.onCancel?.(listener), bench.queue.onCancel?.(listener)];
    stops[0]?.();
    const heard = new Heard(bench.queue);
    const id = await bench.add();
    await bench.takeOne();
    await bench.cancel(id);
    await heard.of([id]);
    await settleDown();
    assert.ok(calls > 0, "the second is there still");
    stops[1]?.();
    heard.stop();
  }),
  prove("a cancel that the task's end overtakes changes nothing, whether it is heard or not", async (bench) => {
    const heard = new Heard(bench.queue);
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.cancel(id);
    await bench.complete(lease);
    assert.equal(await bench.state(id), "gone");
    assert.deepEqual(await bench.extend(lease), { state: "lost" });
    heard.stop();
  }),
  prove("cancels of what is waiting, over or unknown touch no running task", async (bench) => {
    const heard = new Heard(bench.queue);
    const running = await bench.add();
    const lease = await bench.takeOne();
    const waiting = await bench.add({ delayMs: 60_000 });
    assert.deepEqual(await bench.queue.cancel([waiting, "nobody"]), ["cancelled", "unknown"]);
    const last = await bench.add();
    await bench.takeOne();
    await bench.cancel(last);
    await heard.of([last]);
    assert.ok(!heard.ids.has(running), "nobody asked for it");
    assert.equal((await bench.extend(lease, 60_000)).state, "held");
    heard.stop();
  }),
  prove("listeners of another namespace hear nothing", async (bench) => {
    const foreign = (await bench.world.open("beside")).taskQueue?.();
    assert.ok(foreign);
    const [own, other] = [new Heard(bench.queue), new Heard(foreign)];
    const id = await bench.add();
    await bench.takeOne();
    await bench.cancel(id);
    await own.of([id]);
    await settleDown(1_200);
    assert.deepEqual([...other.ids], []);
    own.stop();
    other.stop();
  }),
  prove("close ends listeners; listening to a closed queue and ending it there throw nothing", async (bench) => {
    const other = await secondQueue(bench);
    const heard = new Heard(other);
    const [first, second] = (await active(bench, 2)).map((lease) => lease.taskId) as [string, string];
    await bench.cancel(first);
    await heard.of([first]);
    await other.close();
    const late = new Heard(other);
    await bench.cancel(second);
    await settleDown(1_200);
    assert.deepEqual([[...heard.ids], [...late.ids]], [[first], []]);
    late.stop();
    heard.stop();
  }),
  {
    ...prove("after an outage a listener hears again", async (bench) => {
      const { outage } = bench.world;
      assert.ok(outage);
      const heard = new Heard(bench.queue);
      const lease = await (async () => {
        await bench.add();
        return bench.takeOne({ leaseMs: 600_000 });
      })();
      await outage.stop();
      await settleDown(300);
      await outage.start();
      // The connection may take a while to come back; asking again is what a caller would do.
      for (let tries = 0; tries < 100 && !heard.ids.has(lease.taskId); tries++) {
        await bench.cancel(lease.taskId).catch(() => undefined);
        await settleDown(200);
      }
      assert.deepEqual([...heard.ids], [lease.taskId]);
      heard.stop();
    }),
    timeoutMs: 90_000,
    unless: (world, queue) =>
      lacks(queue) ?? (world.outage === undefined ? "this adapter's test can not take the backend away" : undefined),
  },
];
