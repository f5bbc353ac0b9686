// What a backend refuses for good, what is too much for one call, and what is stored and cannot be read: each stays the affair of its own task.
import { describe, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import {
  defineTask,
  OmniQ,
  OmniQError,
  typeOnly,
  type Lease,
  type ReserveRequest,
  type Settlement,
  type TaskQueue,
} from "@omniq/core";
import { faulty } from "./faulty-queue.ts";

interface Line {
  readonly level: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}
function logger() {
  const lines: Line[] = [];
  const at = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
    void lines.push({ level, message, fields });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
const one = { retry: { maxAttempts: 5, delayMs: 0, jitter: 0 } };

describe("a settlement that the backend refuses for good", () => {
  /** Refuses as PostgreSQL refuses NUL, and SQLite what is no number. */
  const strict = (queue: TaskQueue, sent: Settlement[], what: RegExp): TaskQueue =>
    faulty(queue, {
      settle: async (settlements: readonly Settlement[]) => {
        sent.push(...settlements);
        if (settlements.some((settlement) => what.test(JSON.stringify(settlement))))
          throw new OmniQError("OMNIQ_BACKEND_FAILED", "not \u0000 so");
        return await queue.settle(settlements);
      },
      settleAndReserve: undefined,
    } as Partial<TaskQueue>);

  test("becomes a failed attempt with that error: finished work is not done again, neighbours complete", async () => {
    const backend = memory({});
    const sent: Settlement[] = [];
    const log = logger();
    await using omniq = new OmniQ({
      taskQueue: strict(backend.taskQueue(), sent, /poison/),
      resultStorage: backend.resultStorage(),
      logger: log,
    });
    let runs = 0;
    const poison = defineTask({ name: "toxic", ...one, run: () => `poison ${++runs}` });
    const fine = defineTask({ name: "fine", run: () => 1 });
    const handles = await omniq.enqueueMany([fine.with(), poison.with(), fine.with(), fine.with()]);
    expect(await omniq.worker({ tasks: [poison, fine] }).drain()).toMatchObject({ completed: 3, failed: 1 });
    const outcome = await handles[1]?.outcome({ timeoutMs: 1_000 });
    if (outcome?.status !== "failed") throw new Error(outcome?.status);
    expect([outcome.error.code, runs, outcome.attempt]).toEqual(["OMNIQ_TASK_FAILED", 1, 1]);
    expect(outcome.error.message).toContain("refused by the backend: not \u0000 so");
    expect(JSON.stringify(sent.at(-1))).toMatch(/^[\x20-\x7e]*$/);
    expect(log.lines.filter(({ level }) => level === "error").map(({ message }) => message)).toEqual([
      expect.stringContaining("refused by its backend for good"),
      expect.stringContaining("dead letter"),
    ]);
  });

  test("with an error's text: the attempt fails with a text that any store takes, and is tried again", async () => {
    const backend = memory({});
    await using omniq = new OmniQ({
      taskQueue: strict(backend.taskQueue(), [], /ä/),
      resultStorage: backend.resultStorage(),
      logger: logger(),
    });
    const task = defineTask({
      name: "task",
      ...one,
      run: (_: void, { attempt }) => {
        if (attempt < 3) throw new Error("ä");
        return attempt;
      },
    });
    const handle = await omniq.enqueue(task);
    expect(await omniq.worker({ tasks: [task] }).drain()).toMatchObject({ retried: 2, completed: 1 });
    expect(await handle.result()).toBe(3);
  });

  test("because of its events: it completes without them, and they are appended apart", async () => {
    const backend = memory({});
    const queue = backend.taskQueue();
    await using omniq = new OmniQ({
      taskQueue: strict(queue, [], /"type":"started"/),
      resultStorage: backend.resultStorage(),
      eventStorage: backend.eventStorage(),
      logger: logger(),
    });
    const task = defineTask({ name: "task", run: () => "kept" });
    const handle = await omniq.enqueue(task);
    expect(await omniq.worker({ tasks: [task] }).drain()).toMatchObject({ completed: 1 });
    expect(await handle.result()).toBe("kept");
    const types: string[] = [];
    for await (const { type } of omniq.events.query({ taskId: handle.id })) types.push(type);
    expect(types).toEqual(["enqueued", "started", "completed"]);
  });
});

describe("calls are bounded", () => {
  test("reserves say how many bytes they take, by an option", async () => {
    const queue = memory({}).taskQueue();
    const asked: ReserveRequest[] = [];
    const taskQueue = faulty(queue, {
      reserve: async (request, options) => {
        asked.push(request);
        return await queue.reserve(request, options);
      },
    });
    await using omniq = new OmniQ({ taskQueue, logger: logger() });
    const task = defineTask({ name: "task", run: () => 1 });
    await omniq.worker({ tasks: [task] }).drain();
    await omniq.worker({ tasks: [task], maxReserveBytes: 1_000 }).drain();
    expect([...new Set(asked.map(({ maxBytes }) => maxBytes))]).toEqual([33_554_432, 1_000]);
    for (const maxReserveBytes of [0, -1, 1.5, Number.NaN, "1" as never])
      expect(() => omniq.worker({ tasks: [task], maxReserveBytes })).toThrow(/maxReserveBytes/);
    expect(() => omniq.worker({ tasks: [task], unknownTasks: "drop" as never })).toThrow(/unknownTasks/);
  });

  test("outputs that end together are settled in calls of some megabytes", async () => {
    const queue = memory({}).taskQueue();
    const sizes: number[] = [];
    const taskQueue = faulty(queue, {
      settle: async (settlements: readonly Settlement[]) => {
        sizes.push(settlements.reduce((sum, each) => sum + (("value" in each && each.value?.length) || 0), 0));
        return await queue.settle(settlements);
      },
      settleAndReserve: undefined,
    } as Partial<TaskQueue>);
    await using omniq = new OmniQ({ taskQueue, logger: logger() });
    const big = defineTask({ name: "big", run: () => "x".repeat(1_500_000) });
    await omniq.enqueueMany(Array.from({ length: 20 }, () => big.with()));
    expect(await omniq.worker({ tasks: [big], concurrency: 20 }).drain()).toMatchObject({ completed: 20 });
    expect(Math.max(...sizes)).toBeLessThan(6_000_000);
    expect(sizes.length).toBeGreaterThan(9);
  });

  test("200,000 log lines in one turn: all are appended, in calls of bounded size", async () => {
    const backend = memory({});
    const calls: number[] = [];
    const eventStorage = new Proxy(backend.eventStorage(), {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (key === "append") return async (events: readonly unknown[]) => void calls.push(events.length);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    await using omniq = new OmniQ({
      taskQueue: backend.taskQueue(),
      resultStorage: backend.resultStorage(),
      eventStorage,
      logger: { ...logger(), info() {} },
    });
    const chatty = defineTask({
      name: "chatty",
      run: (_: void, { log }) => {
        for (let n = 0; n < 200_000; n++) log.info("x");
      },
    });
    await omniq.enqueue(chatty);
    expect(await omniq.worker({ tasks: [chatty] }).drain()).toMatchObject({ completed: 1 });
    // The start of the task may ride on its settlement.
    expect(calls.reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(200_000);
    expect(Math.max(...calls)).toBeLessThanOrEqual(10_000);
  });
});

describe("what is stored and cannot be read", () => {
  /** As if somebody had changed what is stored of the tasks called `bad`. */
  const damaging = (queue: TaskQueue, change: (lease: Lease) => Partial<Lease["task"]>): TaskQueue => {
    const changed = (leases: readonly Lease[]): readonly Lease[] =>
      leases.map((lease) =>
        lease.task.name === "bad" ? { ...lease, task: { ...lease.task, ...change(lease) } } : lease,
      );
    return faulty(queue, {
      reserve: async (request, options) => changed(await queue.reserve(request, { signal: options?.signal })),
      settleAndReserve: undefined,
    } as Partial<TaskQueue>);
  };
  const bad = defineTask({ name: "bad", input: typeOnly<number>(), ...one, run: (n) => n });
  const good = defineTask({ name: "good", run: () => "fine" });
  test.each<[string, string, Partial<Lease["task"]>]>([
    ["envelope is not JSON", "OMNIQ_ITEM_DAMAGED", { envelope: "{" }],
    ["envelope is null", "OMNIQ_ITEM_DAMAGED", { envelope: "null" }],
    ["envelope has no retry policy", "OMNIQ_ITEM_DAMAGED", { envelope: '{"t":1}' }],
    ["payload is not JSON", "OMNIQ_SERIALIZATION_FAILED", { payload: "{" }],
    ["payload has a mark of a newer version", "OMNIQ_SERIALIZATION_FAILED", { payload: '{"$omniq":"later"}' }],
  ])("%s: a dead letter at once with %s, a log line, and neighbours go on", async (_, code, change) => {
    const log = logger();
    const backend = memory({});
    await using omniq = new OmniQ({
      taskQueue: damaging(backend.taskQueue(), () => change),
      resultStorage: backend.resultStorage(),
      logger: log,
    });
    const [before, broken, after] = await omniq.enqueueMany([good.with(), bad.with(1), good.with()]);
    expect(await omniq.worker({ tasks: [bad, good] }).drain()).toMatchObject({ completed: 2, failed: 1, retried: 0 });
    const outcome = await broken.outcome({ timeoutMs: 1_000 });
    if (outcome.status !== "failed") throw new Error(outcome.status);
    const { cause } = outcome.error;
    expect([outcome.error.code, (cause as OmniQError | undefined)?.code]).toContain(code);
    expect([await before.result(), await after.result()]).toEqual(["fine", "fine"]);
    const lines = log.lines.filter(({ level }) => level === "error");
    expect(lines.map(({ fields }) => [fields?.["taskId"], fields?.["code"]])).toEqual([[broken.id, code]]);
    expect(JSON.stringify(lines)).not.toContain("later");
  });
});

describe("dependencies", () => {
  test("a required one that did not complete fails the task for good; it never runs with undefined", async () => {
    const backend = memory({});
    const queue = backend.taskQueue();
    let change: Lease["dependencies"][number]["status"] | "gone" = "failed";
    const taskQueue = faulty(queue, {
      reserve: async (request, options) =>
        (await queue.reserve(request, { signal: options?.signal })).map((lease) => ({
          ...lease,
          dependencies: lease.dependencies.flatMap((each) =>
            change === "gone" ? [] : [{ ...each, status: change as "failed" }],
          ),
        })),
      settleAndReserve: undefined,
    } as Partial<TaskQueue>);
    await using omniq = new OmniQ({ taskQueue, resultStorage: backend.resultStorage(), logger: logger() });
    const source = defineTask({ name: "source", run: () => 1 });
    const seen: unknown[] = [];
    const single = defineTask({
      name: "single",
      ...one,
      dependsOn: { from: source },
      run: (_: void, { dependencies }) => void seen.push(dependencies.from),
    });
    const bulk = defineTask({ name: "bulk", ...one, dependsOn: { from: [source] } }).implementBatch(
      { maxSize: 2 },
      (tasks) => tasks.map(({ dependencies }) => void seen.push(dependencies.from)),
    );
    for (change of ["failed", "cancelled", "gone"] as const) {
      const handles = [
        await omniq.enqueue(single, undefined, { dependsOn: { from: source.with() } }),
        await omniq.enqueue(bulk, undefined, { dependsOn: { from: [source.with()] } }),
      ];
      expect(await omniq.worker({ tasks: [source, single, bulk] }).drain()).toMatchObject({ failed: 2, retried: 0 });
      for (const handle of handles)
        await expect(handle.result()).rejects.toMatchObject({ code: "OMNIQ_DEPENDENCY_FAILED", taskId: handle.id });
    }
    expect(seen).toEqual([]);
  });
});
