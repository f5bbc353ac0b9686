// The worker while its backend fails: nothing is lost, nothing is settled twice, nothing waits for a refused neighbour.
import { expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, OmniQError, type Settlement, type TaskQueue } from "@omniq/core";
import { faulty } from "./faulty-queue.ts";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

const away = (): OmniQError => new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "away");

test("settlements and reserves are sent again until the backend is back", async () => {
  const backend = memory({});
  const queue = backend.taskQueue();
  let faults = 0;
  const flaky = async <T>(call: () => Promise<T>): Promise<T> => {
    faults += 1;
    if (faults % 2 === 1 && faults < 10) throw away();
    return await call();
  };
  const taskQueue = faulty(queue, {
    reserve: (request, options) => flaky(() => queue.reserve(request, options)),
    settle: (settlements, options) => flaky(() => queue.settle(settlements, options)),
    settleAndReserve: undefined,
  } as Partial<TaskQueue>);
  await using omniq = new OmniQ({ taskQueue, logger: quiet });
  let runs = 0;
  const task = defineTask({
    name: "task",
    run: () => {
      runs += 1;
    },
  });
  await omniq.enqueueMany([task.with(), task.with(), task.with()]);
  expect(await omniq.worker({ tasks: [task] }).drain()).toMatchObject({ completed: 3 });
  expect(runs).toBe(3);
});

test("a settlement that the backend refuses does not hold back the others", async () => {
  const queue = memory({}).taskQueue();
  const refuse = async (settlements: readonly Settlement[]): Promise<readonly ("settled" | "lost")[]> => {
    if (settlements.some((one) => one.taskId === "bad")) throw new OmniQError("OMNIQ_BACKEND_FAILED", "refused");
    return await queue.settle(settlements);
  };
  await using omniq = new OmniQ({
    taskQueue: faulty(queue, { settle: refuse, settleAndReserve: undefined } as Partial<TaskQueue>),
    resultStorage: false,
    logger: quiet,
  });
  const task = defineTask({ name: "task", run: () => 1 });
  await omniq.enqueueMany([
    task.with(undefined, { id: "a" }),
    task.with(undefined, { id: "bad" }),
    task.with(undefined, { id: "b" }),
    task.with(undefined, { id: "c" }),
  ]);
  expect(await omniq.worker({ tasks: [task] }).drain()).toMatchObject({ completed: 3 });
  expect((await queue.get(["a", "bad", "b", "c"])).map((one) => one?.state)).toEqual([
    undefined,
    "active",
    undefined,
    undefined,
  ]);
});

test("past its own deadline a worker asks before it settles, and drops what is lost", async () => {
  const queue = memory({}).taskQueue();
  const asked: string[] = [];
  const settled: string[] = [];
  const taskQueue = faulty(queue, {
    extend: async (leases) => {
      asked.push(...leases.map((one) => one.taskId));
      return leases.map(() => ({ state: "lost" as const }));
    },
    settle: async (settlements) => {
      settled.push(...settlements.map((one) => one.taskId));
      return await queue.settle(settlements);
    },
    settleAndReserve: undefined,
  } as Partial<TaskQueue>);
  await using omniq = new OmniQ({ taskQueue, resultStorage: false, logger: quiet });
  const block = defineTask({
    name: "block",
    run: () => {
      const end = performance.now() + 300;
      while (performance.now() < end);
    },
  });
  await omniq.enqueue(block, undefined, { id: "blocked" });
  const worker = omniq.worker({ tasks: [block], leaseMs: 100 });
  const draining = worker.drain();
  while (asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await worker.stop({ graceMs: 1_000 });
  await draining;
  expect(asked).toContain("blocked");
  expect(settled).toEqual([]);
});
