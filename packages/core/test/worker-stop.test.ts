// Starting and stopping: when a worker says that it takes tasks, that it takes none from the first moment of a stop, and how long a stop may take.
import { execFile } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, OmniQError, type Lease, type TaskQueue } from "@omniq/core";
import { faulty } from "./faulty-queue.ts";
import { temporaryFolder } from "./worker-backends.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(5);
}
const never = (): Promise<never> => new Promise(() => {});

test("from the first moment of a stop nothing is started: what comes later is given back, while upkeep hangs, too", async () => {
  const queue = memory({}).taskQueue();
  let hold: (leases: readonly Lease[]) => void = () => undefined;
  let stalled = false;
  const taskQueue = faulty(queue, {
    // The answer is under way when the stop is called.
    reserve: async (request, options) => {
      const leases = await queue.reserve({ ...request, waitMs: 0 }, { signal: options?.signal });
      if (!stalled) return leases;
      return await new Promise((resolve) => {
        hold = resolve;
        if (leases.length > 0) resolve([]);
      });
    },
    sweep: async () => (stalled ? await never() : 0),
    settleAndReserve: undefined,
  } as Partial<TaskQueue>);
  await using omniq = new OmniQ({ taskQueue, logger: quiet });
  let started = 0;
  const task = defineTask({ name: "task", run: () => void (started += 1) });
  const worker = omniq.worker({ tasks: [task] });
  await worker.start();
  stalled = true;
  await pause(1_500);
  await omniq.enqueueMany([task.with(), task.with(), task.with()]);
  const before = started;
  const leases = await queue.reserve({ queues: ["default"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "test" });
  const stopping = worker.stop({ graceMs: 1_000 });
  hold(leases);
  const start = performance.now();
  await stopping;
  expect(performance.now() - start).toBeLessThan(2_500);
  expect(started).toBe(before);
  const { ready, active } = (await queue.counts(["default"]))["default"] ?? {};
  expect([ready, active]).toEqual([leases.length, 0]);
});

test("a stop ends two seconds after its grace at the latest, whatever the backend does", async () => {
  const queue = memory({}).taskQueue();
  let stalled = false;
  const stall = <T>(call: () => Promise<T>): Promise<T> => (stalled ? never() : call());
  const taskQueue = faulty(queue, {
    reserve: (request, options) => stall(() => queue.reserve({ ...request, waitMs: 0 }, { signal: options?.signal })),
    settle: (settlements) => stall(() => queue.settle(settlements)),
    extend: (leases, leaseMs) => stall(() => queue.extend(leases, leaseMs)),
    sweep: (limit) => stall(() => queue.sweep(limit)),
    unrecorded: (limit) => stall(() => queue.unrecorded(limit)),
    settleAndReserve: undefined,
  } as Partial<TaskQueue>);
  const events = memory({}).eventStorage();
  const eventStorage = new Proxy(events, {
    get: (target, key) => (key === "append" ? () => stall(async () => undefined) : Reflect.get(target, key, target)),
  });
  const omniq = new OmniQ({ taskQueue, eventStorage, logger: quiet });
  let running = 0;
  const task = defineTask({
    name: "task",
    run: async (_: void, { signal }) => {
      running += 1;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  await omniq.enqueueMany([task.with(), task.with()]);
  const worker = omniq.worker({ tasks: [task] });
  await worker.start();
  await until(() => running === 2);
  stalled = true;
  await pause(1_200);
  const start = performance.now();
  await worker.stop({ graceMs: 300 });
  const tookMs = performance.now() - start;
  expect(tookMs).toBeGreaterThan(250);
  expect(tookMs).toBeLessThan(3_300);
});

test("start resolves once the queue has answered, rejects where it refuses for good, and ends with a stop", async () => {
  const queue = memory({}).taskQueue();
  let fault: OmniQError | undefined = new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "away");
  let asked = 0;
  const taskQueue = faulty(queue, {
    reserve: async (request, options) => {
      asked += 1;
      if (fault !== undefined) throw fault;
      return await queue.reserve(request, options);
    },
  });
  await using omniq = new OmniQ({ taskQueue, logger: quiet });
  const task = defineTask({ name: "task", run: () => 1 });
  await using worker = omniq.worker({ tasks: [task] });
  let up = false;
  const starting = worker.start().then(() => {
    up = true;
  });
  await until(() => asked >= 2);
  expect(up).toBe(false);
  fault = undefined;
  await starting;
  const handle = await omniq.enqueue(task);
  await until(async () => (await queue.get([handle.id]))[0] === undefined);

  fault = new OmniQError("OMNIQ_BACKEND_FAILED", "no rights");
  const refused = omniq.worker({ tasks: [task] });
  await expect(refused.start()).rejects.toMatchObject({ code: "OMNIQ_BACKEND_FAILED" });
  fault = undefined;
  await refused.start();
  await refused.stop();

  fault = new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "away");
  const stopped = omniq.worker({ tasks: [task] });
  const ended = expect(stopped.start()).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
  await pause(20);
  await stopped.stop({ graceMs: 0 });
  await ended;
});

test("after run() nothing keeps a process alive, and many workers warn of no leak", async () => {
  const program = fileURLToPath(new URL("./worker-modules/many.mjs", import.meta.url));
  const path = join(temporaryFolder(), "queue.db");
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program, path], { timeout: 20_000 });
  expect(stdout.trim().split("\n")).toEqual(["started", "run ended", "exit"]);
  expect(stderr).toBe("");
});
