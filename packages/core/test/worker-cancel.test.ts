// Cancels reach running handlers, and progress reaches who looks, within a second, not at the next heartbeat.
import { describe, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, type OmniQError, type TaskQueue } from "@omniq/core";
import { faulty } from "./faulty-queue.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(5);
}
function make() {
  const queue = memory({}).taskQueue();
  const listeners = new Set<(ids: readonly string[]) => void>();
  const extended: string[] = [];
  let gets = 0;
  const verbs: Partial<TaskQueue> = {
    extend: async (leases, leaseMs) => {
      extended.push(...leases.map(({ taskId }) => taskId));
      return await queue.extend(leases, leaseMs);
    },
    get: async (ids) => {
      gets += 1;
      return await queue.get(ids);
    },
  };
  const pushing = {
    ...verbs,
    onCancel: (listener: (ids: readonly string[]) => void) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const tell = (ids: readonly string[]): void => {
    for (const listener of listeners) listener(ids);
  };
  return { queue, verbs, pushing, listeners, extended, tell, gets: () => gets };
}
const reasons: unknown[] = [];
const waiting = defineTask({
  name: "waiting",
  run: (_: void, { signal }) =>
    new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => {
        reasons.push((signal.reason as OmniQError).code);
        reject(signal.reason as Error);
      }),
    ),
});

describe("a cancel", () => {
  test("by push: a hint makes the worker ask of what it holds, and of nothing else; a wrong one does no harm", async () => {
    const { queue, pushing, listeners, extended, tell } = make();
    await using omniq = new OmniQ({ taskQueue: faulty(queue, pushing), logger: quiet });
    await using worker = omniq.worker({ tasks: [waiting], leaseMs: 600_000 });
    await worker.start();
    expect(listeners.size).toBe(1);
    const [one, two] = await omniq.enqueueMany([waiting.with(), waiting.with()]);
    await until(async () => (await queue.counts(["default"]))["default"]?.active === 2);
    tell([two.id, "forged", "forged"]);
    await until(() => extended.length > 0);
    expect(extended).toEqual([two.id]);
    await one.cancel();
    tell([one.id]);
    await until(async () => (await queue.get([one.id]))[0] === undefined);
    expect(reasons).toEqual(["OMNIQ_TASK_CANCELLED"]);
    expect((await queue.get([two.id]))[0]?.state).toBe("active");
    await worker.stop({ graceMs: 0 });
    expect(listeners.size).toBe(0);
  });

  test("where the queue cannot push, it is asked about tasks that run, about short ones never", async () => {
    const { queue, verbs, gets } = make();
    await using omniq = new OmniQ({
      taskQueue: faulty(queue, { ...verbs, onCancel: undefined } as Partial<TaskQueue>),
      logger: quiet,
    });
    const short = defineTask({ name: "short", run: () => 1 });
    await using worker = omniq.worker({ tasks: [waiting, short], leaseMs: 600_000, upkeep: false });
    await worker.start();
    await omniq.enqueueMany([short.with(), short.with()]);
    await pause(1_300);
    expect(gets()).toBe(0);
    const handle = await omniq.enqueue(waiting);
    await until(async () => (await queue.get([handle.id]))[0]?.state === "active");
    await handle.cancel();
    await until(async () => (await queue.get([handle.id]))[0] === undefined);
    expect(gets()).toBeGreaterThan(0);
  });
});

test("progress is stored soon, at most twice a second for all tasks together; one that a backend refuses costs no lease", async () => {
  const { queue } = make();
  const calls: number[] = [];
  const taskQueue = faulty(queue, {
    extend: async (leases, leaseMs) => {
      calls.push(performance.now());
      if (leases.some(({ progress }) => progress?.includes("\\u0000") === true)) throw new Error("refused");
      return await queue.extend(leases, leaseMs);
    },
    onCancel: () => () => undefined,
  });
  await using omniq = new OmniQ({ taskQueue, logger: quiet });
  let over = false;
  const working = defineTask({
    name: "working",
    run: async (_: void, { progress }) => {
      for (let n = 0; !over; n++) {
        progress(Math.min(1, n / 1_000), "at work");
        await pause(2);
      }
    },
  });
  const bad = defineTask({
    name: "bad",
    run: async (_: void, { progress }) => {
      progress(0.5, "\u0000");
      await until(() => over);
      return "kept";
    },
  });
  await using worker = omniq.worker({ tasks: [working, bad], leaseMs: 600_000 });
  await worker.start();
  const handles = await omniq.enqueueMany([working.with(), working.with(), bad.with()]);
  const start = performance.now();
  const said = async (id: string | undefined) =>
    (await queue.get([id as string]))[0]?.progress?.includes("at work") === true;
  await until(async () => (await said(handles[0]?.id)) && (await said(handles[1]?.id)));
  // Long before a heartbeat, which comes after 200 s.
  expect(performance.now() - start).toBeLessThan(5_000);
  await pause(1_000);
  over = true;
  expect(calls.length).toBeLessThanOrEqual(4 * Math.ceil((performance.now() - start) / 1_000) + 2);
  await until(async () => (await queue.get(handles.map(({ id }) => id))).every((task) => task === undefined));
});
