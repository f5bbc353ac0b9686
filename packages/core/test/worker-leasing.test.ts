// Which tasks a worker holds, and in which order they start: nothing waits behind slow handlers beside an idle worker, one task at a time is first
// in, first out, and names that it does not know go back. OMNIQ_WORKER_BACKENDS adds backends.
import { describe, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, typeOnly, type Settlement, type TaskQueue } from "@omniq/core";
import { faulty } from "./faulty-queue.ts";
import { backendNames, storeOf } from "./worker-backends.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(5);
}

describe.each(backendNames)("%s", (name) => {
  test("600 quick tasks beside long handlers, two workers of concurrency 4: none waits while a slot is idle", async () => {
    const open = await storeOf(name);
    await using one = new OmniQ({ taskQueue: open(), logger: quiet });
    await using two = new OmniQ({ taskQueue: open(), logger: quiet });
    const longMs = 8_000;
    let long = 0;
    const slow = defineTask({
      name: "slow",
      queue: "slow",
      run: async () => {
        long += 1;
        await pause(longMs);
      },
    });
    const waits: number[] = [];
    const quick = defineTask({
      name: "quick",
      queue: "quick",
      input: typeOnly<number>(),
      run: async (addedAt) => {
        waits.push(Date.now() - addedAt);
        await pause(2);
      },
    });
    // The first has learnt that its handlers are quick, then has four slow ones; the second is idle.
    const busy = one.worker({ tasks: [quick, slow], queues: ["slow", "quick"], concurrency: 4 });
    await busy.start();
    await one.enqueueMany(Array.from({ length: 100 }, () => quick.with(Date.now())));
    await until(() => waits.length === 100);
    waits.length = 0;
    await one.enqueueMany(Array.from({ length: 4 }, () => slow.with()));
    await until(() => long === 4);
    const idle = two.worker({ tasks: [quick], concurrency: 4 });
    await idle.start();
    for (let n = 0; n < 60; n++) {
      await two.enqueueMany(Array.from({ length: 10 }, () => quick.with(Date.now())));
      await pause(20);
    }
    await until(() => waits.length === 600);
    const longest = Math.max(...waits);
    if (process.env["OMNIQ_WORKER_SAY"] !== undefined) console.log(`${name}: the longest wait was ${longest} ms`);
    // A fifth of a second and a round trip, where the machine does nothing else; as long as the handlers where it is not kept.
    expect(longest).toBeLessThan(longMs / 2);
    await Promise.all([busy.stop({ graceMs: 0 }), idle.stop()]);
  });

  test("one worker, one task at a time: first in, first out in 20 of 20 rounds", async () => {
    const open = await storeOf(name);
    await using omniq = new OmniQ({ taskQueue: open(), logger: quiet });
    const seen: number[] = [];
    const plain = defineTask({
      name: "plain",
      input: typeOnly<number>(),
      run: async (n) => {
        seen.push(n);
        if (n % 3 === 0) await pause(0);
      },
    });
    await using worker = omniq.worker({ tasks: [plain], concurrency: 1 });
    await worker.start();
    const size = 30;
    const wrong: number[] = [];
    for (let round = 0; round < 20; round++) {
      seen.length = 0;
      for (let n = 0; n < size; n++) await omniq.enqueue(plain, n);
      await until(() => seen.length === size);
      if (seen.some((n, index) => n !== index)) wrong.push(round);
    }
    if (process.env["OMNIQ_WORKER_SAY"] !== undefined)
      console.log(`${name}: ${20 - wrong.length} of 20 rounds in order`);
    expect(wrong).toEqual([]);
  });
});

describe("leasing ahead", () => {
  test("a limit of the queue is not used up by tasks that wait in a busy worker", async () => {
    const open = await storeOf("memory");
    const settings = { queues: { limited: { maxActive: 4 } }, logger: quiet };
    await using one = new OmniQ({ taskQueue: open(), ...settings });
    await using two = new OmniQ({ taskQueue: open(), ...settings });
    let long = 0;
    let quickly = 0;
    const slow = defineTask({
      name: "slow",
      queue: "slow",
      run: async (_: void, { signal }) => {
        long += 1;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
    const limited = defineTask({ name: "limited", queue: "limited", run: () => void (quickly += 1) });
    const busy = one.worker({ tasks: [limited, slow], queues: ["slow", "limited"], concurrency: 2 });
    await busy.start();
    await one.enqueueMany(Array.from({ length: 50 }, () => limited.with()));
    await until(() => quickly === 50);
    await one.enqueueMany([slow.with(), slow.with()]);
    await until(() => long === 2);
    await one.enqueueMany(Array.from({ length: 40 }, () => limited.with()));
    await pause(50);
    await using idle = two.worker({ tasks: [limited], concurrency: 2 });
    await idle.start();
    const start = performance.now();
    await until(() => quickly === 90);
    expect(performance.now() - start).toBeLessThan(2_000);
    await busy.stop({ graceMs: 0 });
  });

  test("batches that wait behind slow handlers go back, too", async () => {
    const open = await storeOf("memory");
    await using one = new OmniQ({ taskQueue: open(), logger: quiet });
    await using two = new OmniQ({ taskQueue: open(), logger: quiet });
    const blocked: string[] = [];
    const by: string[] = [];
    const slow = defineTask({ name: "slow" });
    const bulk = defineTask({ name: "bulk" });
    const make = (worker: string) => [
      slow.implement(async (_: void, { signal }) => {
        blocked.push(worker);
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      }),
      bulk.implementBatch({ maxSize: 3 }, (tasks) => tasks.map(() => void by.push(worker))),
    ];
    const busy = one.worker({ tasks: make("busy"), concurrency: 1 });
    await busy.start();
    await one.enqueue(slow);
    await until(() => blocked.length === 1);
    await one.enqueueMany([bulk.with(), bulk.with(), bulk.with()]);
    await pause(50);
    const idle = two.worker({ tasks: make("idle"), concurrency: 1 });
    await idle.start();
    await until(() => by.length === 3);
    expect(by).toEqual(["idle", "idle", "idle"]);
    await Promise.all([idle.stop(), busy.stop({ graceMs: 0 })]);
  });
});

describe("names that a worker does not know", () => {
  const stranger = defineTask({ name: "stranger", retry: { maxAttempts: 2 } });
  const known = defineTask({ name: "known", run: () => "known" });

  test("go back uncharged with growing pauses, told once, and a drain ends", async () => {
    const backend = memory({});
    const queue = backend.taskQueue();
    const released: (number | undefined)[] = [];
    const taskQueue = faulty(queue, {
      settle: async (settlements: readonly Settlement[]) => {
        for (const one of settlements) if (one.outcome === "release") released.push(one.delayMs);
        return await queue.settle(settlements);
      },
      settleAndReserve: undefined,
    } as Partial<TaskQueue>);
    const lines: string[] = [];
    const logger = { ...quiet, warn: (_: string, fields?: object) => void lines.push(JSON.stringify(fields)) };
    await using omniq = new OmniQ({ taskQueue, resultStorage: backend.resultStorage(), logger });
    await omniq.enqueueMany([stranger.with(), known.with(), stranger.with(undefined, { id: "followed" })]);
    const worker = omniq.worker({ tasks: [known] });
    expect(await worker.drain()).toEqual({ completed: 1, retried: 0, failed: 0, cancelled: 0 });
    expect(await omniq.handle("followed").status()).toMatchObject({ state: "scheduled", attempt: 0 });
    await worker.start();
    await until(() => released.length >= 4);
    await worker.stop();
    const [first, , , later] = released as readonly number[];
    expect(first).toBeGreaterThanOrEqual(800);
    expect(first).toBeLessThanOrEqual(1_200);
    expect(later).toBeGreaterThanOrEqual(1_600);
    expect(lines).toEqual([JSON.stringify({ taskName: "stranger", queue: "default" })]);
    // Somebody who knows it has all attempts left.
    await using other = omniq.worker({ tasks: [stranger.implement(() => "there")] });
    await other.start();
    expect(await omniq.handle("followed").outcome({ timeoutMs: 10_000 })).toMatchObject({
      output: "there",
      attempt: 1,
    });
  });

  test("are failed attempts where the option says so", async () => {
    await using omniq = new OmniQ({ taskQueue: memory({}), logger: quiet });
    const handle = await omniq.enqueue(stranger, undefined, { retry: { maxAttempts: 1 } });
    expect(await omniq.worker({ tasks: [known], unknownTasks: "fail" }).drain()).toMatchObject({ failed: 1 });
    await expect(handle.result()).rejects.toMatchObject({ code: "OMNIQ_UNKNOWN_TASK" });
  });
});
