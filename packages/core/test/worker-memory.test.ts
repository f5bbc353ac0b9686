// The worker on the memory backend: outcomes, retries, time limits, cancellation, batches, flows, stop and drain.
import { describe, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { z } from "zod";
import {
  allowFailure,
  defineTask,
  failTask,
  OmniQ,
  OmniQError,
  retryTask,
  typeOnly,
  type OmniQOptions,
  type WorkerOptions,
} from "@omniq/core";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
function client(options: Partial<OmniQOptions> = {}): OmniQ {
  return new OmniQ({ taskQueue: memory({}), logger: quiet, ...options });
}
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("outcomes", () => {
  test("completes, parses the input, and gives the output", async () => {
    await using omniq = client();
    const add = defineTask({
      name: "add",
      input: z.object({ a: z.coerce.number(), b: z.number() }),
      run: ({ a, b }) => a + b,
    });
    const handle = await omniq.enqueue(add, { a: "2", b: 3 });
    expect(await omniq.worker({ tasks: [add] }).drain()).toEqual({ completed: 1, retried: 0, failed: 0, cancelled: 0 });
    expect(await handle.result()).toBe(5);
  });

  test("retries by the policy, then a dead letter with the handler's error as cause", async () => {
    let now = Date.UTC(2026, 0, 1);
    const backend = memory({ now: () => now });
    await using omniq = client({ taskQueue: backend });
    let runs = 0;
    const boom = defineTask({
      name: "boom",
      retry: { maxAttempts: 3, delayMs: 1_000, factor: 2, jitter: 0 },
      run: () => {
        runs += 1;
        throw new Error(`no ${runs}`);
      },
    });
    const retried: number[] = [];
    const failed: OmniQError[] = [];
    const worker = omniq.worker({
      tasks: [boom],
      onRetry: (task) => {
        retried.push(task.attempt);
      },
      onFailed: (_, error) => {
        failed.push(error);
        throw new Error("a hook");
      },
    });
    const handle = await omniq.enqueue(boom);
    expect(await worker.drain()).toMatchObject({ retried: 1, failed: 0 });
    now += 999;
    expect(await worker.drain()).toMatchObject({ retried: 0 });
    now += 1;
    expect(await worker.drain()).toMatchObject({ retried: 1 });
    now += 2_000;
    expect(await worker.drain()).toMatchObject({ retried: 0, failed: 1 });
    expect([runs, retried, failed.length]).toEqual([3, [1, 2], 1]);
    const outcome = await handle.outcome();
    if (outcome.status !== "failed") throw new Error(outcome.status);
    expect(outcome.error.code).toBe("OMNIQ_TASK_FAILED");
    expect((outcome.error.cause as Error).message).toBe("no 3");
  });

  test("failTask ends the attempts, retryTask sets the time", async () => {
    let now = Date.UTC(2026, 0, 1);
    await using omniq = client({ taskQueue: memory({ now: () => now }) });
    const dead = defineTask({
      name: "dead",
      run: () => {
        throw failTask("never");
      },
    });
    const later = defineTask({
      name: "later",
      run: (_: void, { attempt }) => {
        if (attempt === 1) throw retryTask({ delayMs: 50_000 });
        return attempt;
      },
    });
    const worker = omniq.worker({ tasks: [dead, later] });
    const [a, b] = [await omniq.enqueue(dead), await omniq.enqueue(later)];
    expect(await worker.drain()).toMatchObject({ failed: 1, retried: 1 });
    await expect(a.result()).rejects.toMatchObject({ code: "OMNIQ_TASK_FAILED", message: "never" });
    now += 49_999;
    expect(await worker.drain()).toMatchObject({ completed: 0 });
    now += 1;
    expect(await worker.drain()).toMatchObject({ completed: 1 });
    expect(await b.result()).toBe(2);
  });

  test("unknown names, inputs that do not parse and outputs that cannot be kept are failed attempts with their code", async () => {
    const backend = memory({});
    const tooBig = backend.taskQueue().capabilities.maxPayloadBytes + 1;
    await using omniq = client({ taskQueue: backend });
    const once = { retry: { maxAttempts: 1 } };
    const unknown = defineTask({ name: "unknown", ...once, input: typeOnly<void>() });
    const strictProducer = defineTask({ name: "strict", ...once, input: typeOnly<number>() });
    const strict = defineTask({ name: "strict", ...once, input: z.number().min(10), run: () => "ok" });
    const shape = defineTask({
      name: "shape",
      ...once,
      output: z.object({ n: z.number().max(1) }),
      run: () => ({ n: 2 }),
    });
    const closure = defineTask({ name: "closure", ...once, run: () => ({ f: () => 1 }) as unknown });
    const huge = defineTask({ name: "huge", ...once, run: () => "x".repeat(tooBig) });
    const handles = [
      await omniq.enqueue(unknown),
      await omniq.enqueue(strictProducer, 1),
      await omniq.enqueue(shape),
      await omniq.enqueue(closure),
      await omniq.enqueue(huge),
    ];
    expect(await omniq.worker({ tasks: [strict, shape, closure, huge], unknownTasks: "fail" }).drain()).toMatchObject({
      failed: 5,
      completed: 0,
    });
    const codes = await Promise.all(
      handles.map(async (handle) => {
        const outcome = await handle.outcome();
        return outcome.status === "failed" ? outcome.error.code : outcome.status;
      }),
    );
    expect(codes).toEqual([
      "OMNIQ_UNKNOWN_TASK",
      "OMNIQ_INVALID_INPUT",
      "OMNIQ_TASK_FAILED",
      "OMNIQ_SERIALIZATION_FAILED",
      "OMNIQ_SERIALIZATION_FAILED",
    ]);
  });

  test("a time limit fails the attempt and frees the slot, though the code runs on", async () => {
    await using omniq = client();
    let reason: unknown;
    const hang = defineTask({
      name: "hang",
      timeoutMs: 30,
      retry: { maxAttempts: 1 },
      run: (_: void, { signal }) => {
        signal.addEventListener("abort", () => {
          reason = signal.reason;
        });
        return new Promise<void>(() => {});
      },
    });
    const quick = defineTask({ name: "quick", run: () => 1 });
    const handle = await omniq.enqueue(hang);
    await omniq.enqueue(quick);
    expect(await omniq.worker({ tasks: [hang, quick], concurrency: 1 }).drain()).toMatchObject({
      failed: 1,
      completed: 1,
    });
    const outcome = await handle.outcome();
    if (outcome.status !== "failed") throw new Error(outcome.status);
    expect([outcome.error.code, (outcome.error.cause as OmniQError).code]).toEqual([
      "OMNIQ_TASK_FAILED",
      "OMNIQ_TIMEOUT",
    ]);
    expect((reason as OmniQError).code).toBe("OMNIQ_TIMEOUT");
  });

  test("cancel reaches a running handler; what finishes first stands", async () => {
    await using omniq = client();
    const running = new Set<string>();
    const stoppable = defineTask({
      name: "stoppable",
      run: (_: void, { id, signal }) =>
        new Promise<void>((_resolve, reject) => {
          running.add(id);
          signal.addEventListener("abort", () => reject(signal.reason as Error));
        }),
    });
    const stubborn = defineTask({
      name: "stubborn",
      run: (_: void, { id, signal }) =>
        new Promise<string>((resolve) => {
          running.add(id);
          signal.addEventListener("abort", () => resolve((signal.reason as OmniQError).code));
        }),
    });
    await using worker = omniq.worker({ tasks: [stoppable, stubborn], leaseMs: 300 });
    await worker.start();
    const [a, b] = [await omniq.enqueue(stoppable), await omniq.enqueue(stubborn)];
    await until(() => running.size === 2);
    expect(await a.cancel()).toBe("cancelling");
    expect(await b.cancel()).toBe("cancelling");
    expect((await a.outcome()).status).toBe("cancelled");
    expect(await b.result()).toBe("OMNIQ_TASK_CANCELLED");
  });
});

describe("context", () => {
  test("dependencies arrive under their slots, failures as outcomes", async () => {
    await using omniq = client();
    const one = defineTask({ name: "one", input: typeOnly<number>(), run: (n) => n });
    const bad = defineTask({
      name: "bad",
      retry: { maxAttempts: 1 },
      run: (): number => {
        throw new Error("bad");
      },
    });
    const sum = defineTask({
      name: "sum",
      dependsOn: { first: one, rest: [one], maybe: allowFailure(bad) },
      run: (_: void, { dependencies: { first, rest, maybe } }) => [first, rest, maybe.status] as const,
    });
    const handle = await omniq.enqueue(sum, undefined, {
      dependsOn: { first: one.with(1), rest: [one.with(2), one.with(3)], maybe: bad.with() },
    });
    await omniq.worker({ tasks: [one, bad, sum] }).drain();
    expect(await handle.result()).toEqual([1, [2, 3], "failed"]);
  });

  test("middleware wraps, handlers enqueue, headers and events arrive in order", async () => {
    const backend = memory({});
    await using omniq = client({ taskQueue: backend, eventStorage: backend });
    const order: string[] = [];
    const child = defineTask({ name: "child", run: () => "child" });
    const parent = defineTask({
      name: "parent",
      run: async (_: void, { enqueue, log, progress, headers }) => {
        order.push(`run ${headers["trace"]}`);
        log.info("half way");
        progress(0.5, "half");
        return (await enqueue(child)).id;
      },
    });
    const worker = omniq.worker({
      tasks: [parent, child],
      middleware: [
        async (task, next) => {
          order.push(`in ${task.name}`);
          const output = await next();
          order.push(`out ${task.name}`);
          return output;
        },
      ],
      onCompleted: (task, output) => {
        order.push(`done ${task.name} ${typeof output}`);
      },
    });
    const handle = await omniq.enqueue(parent, undefined, { headers: { trace: "t" } });
    expect(await worker.drain()).toMatchObject({ completed: 2 });
    expect(order).toEqual([
      "in parent",
      "run t",
      "out parent",
      "done parent string",
      "in child",
      "out child",
      "done child string",
    ]);
    const types: string[] = [];
    for await (const event of handle.events()) types.push(event.type);
    expect(types).toEqual(["enqueued", "started", "log", "progress", "completed"]);
  });
});

describe("batches", () => {
  test("each task has its own outcome, a throw fails all", async () => {
    await using omniq = client();
    const sizes: number[] = [];
    const bulk = defineTask({ name: "bulk", retry: { maxAttempts: 1 }, input: z.number() }).implementBatch(
      { maxSize: 10, maxWaitMs: 20 },
      (tasks) => {
        sizes.push(tasks.length);
        if (tasks.some(({ input }) => input < 0)) throw new Error("all");
        return tasks.map(({ input }) => (input === 3 ? failTask("three") : input * 2));
      },
    );
    const handles = await omniq.enqueueMany(Array.from({ length: 10 }, (_, n) => bulk.with(n)));
    const worker = omniq.worker({ tasks: [bulk], concurrency: 1 });
    expect(await worker.drain()).toMatchObject({ completed: 9, failed: 1 });
    expect(sizes).toEqual([10]);
    expect((await handles[3]?.outcome())?.status).toBe("failed");
    expect(await handles[4]?.result()).toBe(8);
    await omniq.enqueueMany([bulk.with(-1), bulk.with(1)]);
    expect(await worker.drain()).toMatchObject({ completed: 0, failed: 2 });
  });
});

describe("life", () => {
  test("stop waits for what runs, then aborts and releases", async () => {
    await using omniq = client();
    let reason: unknown;
    const attempts: number[] = [];
    let block = true;
    const slow = defineTask({
      name: "slow",
      run: (_: void, { signal, attempt }) => {
        attempts.push(attempt);
        return block
          ? new Promise<string>((_r, reject) =>
              signal.addEventListener("abort", () => {
                reason = signal.reason;
                reject(signal.reason as Error);
              }),
            )
          : "done";
      },
    });
    const handle = await omniq.enqueue(slow);
    const worker = omniq.worker({ tasks: [slow] });
    await worker.start();
    await until(() => attempts.length === 1);
    await worker.stop({ graceMs: 20 });
    expect((reason as OmniQError).code).toBe("OMNIQ_CLOSED");
    await expect(worker.start()).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
    block = false;
    expect(await omniq.worker({ tasks: [slow] }).drain()).toMatchObject({ completed: 1 });
    expect([attempts, await handle.result()]).toEqual([[1, 1], "done"]);
  });

  test("a handler that blocks the event loop for three lease lengths runs once", async () => {
    await using omniq = client();
    let runs = 0;
    const block = defineTask({
      name: "block",
      run: () => {
        runs += 1;
        const end = performance.now() + 300;
        while (performance.now() < end);
        return "blocked";
      },
    });
    await using worker = omniq.worker({ tasks: [block], leaseMs: 100 });
    await worker.start();
    const handle = await omniq.enqueue(block);
    expect(await handle.result()).toBe("blocked");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(runs).toBe(1);
  });

  test("long handlers keep their leases", async () => {
    await using omniq = client();
    let runs = 0;
    const long = defineTask({
      name: "long",
      run: async () => {
        runs += 1;
        await new Promise((resolve) => setTimeout(resolve, 450));
        return "long";
      },
    });
    await using worker = omniq.worker({ tasks: [long], leaseMs: 120 });
    await worker.start();
    expect(await (await omniq.enqueue(long)).result()).toBe("long");
    expect(runs).toBe(1);
  });

  test("many tasks, each once, with prefetch and natural batches", async () => {
    await using omniq = client();
    const seen = new Map<number, number>();
    const count = defineTask({
      name: "count",
      input: typeOnly<number>(),
      run: async (n) => {
        seen.set(n, (seen.get(n) ?? 0) + 1);
        if (n % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      },
    });
    for (let start = 0; start < 20_000; start += 1_000)
      await omniq.enqueueMany(Array.from({ length: 1_000 }, (_, n) => count.with(start + n)));
    expect(await omniq.worker({ tasks: [count], concurrency: 100 }).drain()).toMatchObject({ completed: 20_000 });
    expect([seen.size, [...seen.values()].every((n) => n === 1)]).toEqual([20_000, true]);
  });
});

describe("results in another backend", () => {
  test("the result is put first, and a redelivered lease settles with it without running the handler", async () => {
    const queue = memory({}).taskQueue();
    const results = memory({}).resultStorage();
    await using omniq = client({ taskQueue: queue, resultStorage: results });
    let runs = 0;
    const once = defineTask({
      name: "once",
      resultTtlMs: 0,
      run: () => {
        runs += 1;
        return "value";
      },
    });
    const handle = await omniq.enqueue(once);
    // A worker that dies after the result is stored: its settlements never arrive.
    const [lease] = await queue.reserve({ queues: ["default"], limit: 1, leaseMs: 100, waitMs: 0, worker: "dying" });
    await results.put([
      {
        taskId: handle.id,
        run: 1,
        attempt: 1,
        name: "once",
        queue: "default",
        status: "completed",
        value: '"first"',
        ttlMs: 60_000,
      },
    ]);
    expect(lease?.taskId).toBe(handle.id);
    await using worker = omniq.worker({ tasks: [once] });
    await worker.start();
    await until(async () => (await queue.get([handle.id]))[0] === undefined);
    expect(runs).toBe(0);
    expect((await results.get([handle.id]))[0]?.value).toBe('"first"');
    const next = await omniq.enqueue(once);
    await until(async () => (await queue.get([next.id]))[0] === undefined);
    const marker = (await results.get([next.id]))[0];
    expect([runs, marker?.status, marker?.value]).toEqual([1, "completed", undefined]);
    expect((marker?.expiresAt ?? 0) - (marker?.finishedAt ?? 0)).toBe(3_600_000);
  });
});

describe("options", () => {
  const fine = defineTask({ name: "fine", run: () => 1 });
  const twin = defineTask({ name: "fine", run: () => 2 });
  const bare = defineTask({ name: "bare", input: typeOnly<void>() });
  test.each([
    [{ tasks: [fine], concurency: 3 }, /unknown option "concurency"/],
    [{ tasks: [fine], modules: [new URL("file:///x.js")] }, /not both/],
    [{}, /not both and not neither/],
    [{ tasks: [fine], kind: "gevent" }, /event loop/],
    [{ tasks: [fine], kind: "thread" }, /cannot cross/],
    [{ tasks: [fine], concurrency: 0 }, /concurrency must be a whole number/],
    [{ tasks: [fine], concurrency: 1.5 }, /concurrency must be a whole number/],
    [{ tasks: [fine, twin] }, /two tasks are named "fine"/],
    [{ tasks: [bare] }, /has no handler/],
    [{ tasks: [{}] }, /must come from defineTask/],
    [{ modules: ["./x.js"] }, /must be a URL/],
  ])("refused options %#", async (options, message) => {
    await using omniq = client();
    expect(() => omniq.worker(options as never as WorkerOptions)).toThrow(
      expect.objectContaining({ code: "OMNIQ_INVALID_OPTION", message: expect.stringMatching(message) }) as never,
    );
  });
});

describe("the log", () => {
  test("tells of failed attempts and dead letters by default, with task, attempt and error, without the payload", async () => {
    const lines: { level: string; message: string; fields: Readonly<Record<string, unknown>> }[] = [];
    const at = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
      void lines.push({ level, message, fields: fields ?? {} });
    const logger = { debug() {}, info() {}, warn: at("warn"), error: at("error") };
    await using omniq = client({ logger });
    const secret = "the payload of nobody else";
    const strict = z.object({ n: z.number() });
    const fails = defineTask({
      name: "fails",
      input: typeOnly<string>(),
      retry: { maxAttempts: 2, delayMs: 0 },
      run: () => {
        throw new RangeError("too much");
      },
    });
    const invalid = defineTask({ name: "invalid", input: strict, retry: { maxAttempts: 1 }, run: () => 1 });
    const producer = defineTask({ name: "invalid", input: typeOnly<unknown>(), retry: { maxAttempts: 1 } });
    await omniq.enqueue(fails, secret, { id: "one" });
    await omniq.enqueue(producer, { n: secret });
    await omniq.worker({ tasks: [fails, invalid] }).drain();
    expect(lines.map(({ level, fields }) => [level, fields["taskName"], fields["attempt"], fields["code"]])).toEqual(
      expect.arrayContaining([
        ["warn", "fails", 1, "OMNIQ_TASK_FAILED"],
        ["error", "fails", 2, "OMNIQ_TASK_FAILED"],
        ["error", "invalid", 1, "OMNIQ_INVALID_INPUT"],
      ]),
    );
    expect(lines.length).toBe(3);
    expect(lines[0]?.fields["error"]).toMatchObject({ name: "RangeError", message: "too much" });
    expect(lines.map(({ message, fields }) => message + JSON.stringify(fields)).join()).not.toContain(secret);
  });
});
