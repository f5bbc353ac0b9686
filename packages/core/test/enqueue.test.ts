// What becomes of calls before they are sent: options merged, flows laid flat; and how calls ride together without failing each other.
import { describe, expect, test, vi } from "vitest";
import { z } from "zod";
import type { EnqueueAnswer, EnqueueCall, NewTask, TaskQueue, TaskQueueCapabilities } from "../src/contracts/index.ts";
import { allowFailure, defineTask } from "../src/define-task.ts";
import { EnqueueCoalescer } from "../src/enqueue-coalescer.ts";
import { prepareCalls, type PreparedCalls } from "../src/enqueue-prepare.ts";
import { decodeEnvelope } from "../src/envelope.ts";
import { OmniQError } from "../src/errors.ts";
import { jsonSerializer } from "../src/serializer.ts";
import { typeOnly } from "../src/standard-schema.ts";
import type { TaskCall } from "../src/task-definition.ts";
import { newId, occurrenceId } from "../src/task-id.ts";

const capabilities: TaskQueueCapabilities = {
  durable: false,
  push: true,
  reach: "process",
  transactions: false,
  priorities: true,
  dependencies: true,
  deduplication: true,
  groups: true,
  queueLimits: true,
  rateLimits: true,
  remoteHeartbeats: false,
  maxPayloadBytes: 524_288,
  maxBatch: 4,
  minimumLeaseMs: 1,
};
const prepare = async (
  calls: readonly TaskCall<unknown>[],
  defaults = {},
  changed: Partial<TaskQueueCapabilities> = {},
): Promise<PreparedCalls> =>
  await prepareCalls(calls, { capabilities: { ...capabilities, ...changed }, defaults, serializer: jsonSerializer });
const one = async (call: TaskCall<unknown>, defaults = {}): Promise<NewTask> =>
  (await prepare([call], defaults)).tasks[0] as NewTask;
const ping = defineTask({ name: "ping", input: typeOnly<{ n: number }>() });
const code = (name: string, message = ""): unknown =>
  expect.objectContaining({ code: name, message: expect.stringContaining(message) as string });

describe("options", () => {
  test("defaults", async () => {
    const task = await one(ping.with({ n: 1 }));
    expect(task).toMatchObject({
      name: "ping",
      queue: "default",
      payload: '{"n":1}',
      priority: 0,
      maxAttempts: 5,
      resultTtlMs: 86_400_000,
      rememberMs: 600_000,
    });
    expect(decodeEnvelope(task.envelope)).toEqual({
      retry: { backoff: "exponential", delayMs: 1_000, factor: 4, maxDelayMs: 3_600_000, jitter: 0.2 },
      timeoutMs: 3_600_000,
      headers: {},
    });
    expect(task).not.toHaveProperty("delayMs");
    expect(task.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
  test("client defaults < definition < call, field by field", async () => {
    const task = defineTask({
      name: "t",
      queue: "q",
      retry: { maxAttempts: 3, delayMs: 5 },
      timeoutMs: null,
      headers: { a: "1", b: "1" },
      delayMs: 10,
      expiresInMs: 20,
    });
    const built = await one(
      task.with(undefined, {
        id: "x",
        retry: { delayMs: 7 },
        headers: { b: "2" },
        priority: undefined,
        runAt: new Date(99),
      }),
      { queue: "d", priority: 4, retry: { factor: 2, maxAttempts: 9 }, headers: { c: "0" }, resultTtlMs: 0 },
    );
    expect(built).toMatchObject({
      id: "x",
      queue: "q",
      priority: 4,
      maxAttempts: 3,
      resultTtlMs: 0,
      runAt: 99,
      expiresInMs: 20,
      rememberMs: 86_400_000,
    });
    expect(built).not.toHaveProperty("delayMs");
    expect(decodeEnvelope(built.envelope)).toMatchObject({
      retry: { delayMs: 7, factor: 2 },
      timeoutMs: null,
      headers: { a: "1", b: "2", c: "0" },
    });
  });
  test("keys are made from the parsed input, and the raw input is stored", async () => {
    const task = defineTask({
      name: "t",
      input: z.object({ n: z.coerce.number() }),
      deduplicate: { key: ({ n }) => `k${n + 1}`, windowMs: 5 },
      group: { key: ({ n }) => `g${n}` },
    });
    expect(await one(task.with({ n: "4" }))).toMatchObject({
      payload: '{"n":"4"}',
      deduplicate: { key: "k5", mode: "keep", windowMs: 5 },
      group: { key: "g4", limit: 1 },
    });
    expect((await one(task.with({ n: "4" }, { deduplicate: { key: "own" } }))).deduplicate).toEqual({
      key: "own",
      mode: "keep",
    });
  });
  test.each<[string, object, string]>([
    ["unknown", { delay: 1 }, '"delay"'],
    ["both times", { runAt: 1, delayMs: 1 }, "not both"],
    ["both ends", { expiresAt: 1, expiresInMs: 1 }, "not both"],
    ["a bad date", { runAt: new Date(Number.NaN) }, "runAt"],
    ["an empty id", { id: "" }, "id"],
    ["NUL in an id", { id: "a\0" }, "NUL"],
    ["a lone surrogate", { id: "\ud800" }, "surrogate"],
    ["a key", { group: { key: "" } }, "group.key"],
    ["after", { after: "x" }, "after"],
    ["a slot", { dependsOn: { a: ping.with({ n: 1 }) } }, "no such slot"],
    ["itself", { id: "a", after: ["a"] }, "circle"],
    ["replace with dependencies", { after: ["a"], deduplicate: { key: "k", mode: "replace" } }, "deduplicate.mode"],
  ])("refused: %s", async (_name, options, message) => {
    await expect(prepare([ping.with({ n: 1 }, options as never)])).rejects.toEqual(
      code("OMNIQ_INVALID_OPTION", message),
    );
  });
  test("input, size, serialization and capabilities", async () => {
    const task = defineTask({ name: "t", input: z.object({ n: z.number() }) });
    await expect(prepare([task.with({ n: "x" as never })])).rejects.toEqual(code("OMNIQ_INVALID_INPUT", "n: "));
    await expect(prepare([ping.with({ n: "x".repeat(524_288) as never })])).rejects.toEqual(
      code("OMNIQ_INVALID_INPUT", "524288"),
    );
    await expect(prepare([ping.with({ n: (() => 1) as never })])).rejects.toEqual(
      code("OMNIQ_SERIALIZATION_FAILED", "value.n"),
    );
    await expect(prepare([ping.with({ n: 1 }, { priority: 1 })], {}, { priorities: false })).rejects.toEqual(
      code("OMNIQ_UNSUPPORTED", "priorities"),
    );
    await expect(prepare([ping.with({ n: 1 }, { after: ["a"] })], {}, { dependencies: false })).rejects.toEqual(
      code("OMNIQ_UNSUPPORTED"),
    );
    await expect(prepare([{ task: {}, input: 1, options: {} } as never])).rejects.toEqual(
      code("OMNIQ_INVALID_OPTION", "defineTask"),
    );
  });
});

describe("flows", () => {
  const leaf = defineTask({ name: "leaf", run: () => 1 });
  const tree = defineTask({ name: "tree", dependsOn: { a: leaf, b: allowFailure(leaf), many: [leaf] }, run: () => 2 });
  const handle = (id: string): never => ({ id, result: async () => 1 }) as never;
  test("nested calls go first, slots keep their ids, each dependency stands once", async () => {
    const shared = leaf.with();
    const { tasks, roots } = await prepare([
      tree.with(undefined, {
        id: "root",
        dependsOn: { a: shared, b: shared, many: [handle("h1"), shared] },
        after: ["h1", "h2"],
      }),
    ]);
    expect(tasks.map(({ name }) => name)).toEqual(["leaf", "tree"]);
    expect(roots).toEqual([1]);
    const id = tasks[0]?.id as string;
    expect(tasks[1]?.dependencies).toEqual([
      { taskId: id, onFailure: "fail" },
      { taskId: "h1", onFailure: "fail" },
      { taskId: "h2", onFailure: "fail" },
    ]);
    expect(decodeEnvelope(tasks[1]?.envelope as string).slots).toEqual({ a: id, b: id, many: ["h1", id] });
  });
  test("only allowed failures run all the same", async () => {
    const { tasks } = await prepare([
      tree.with(undefined, { dependsOn: { a: handle("a"), b: handle("b"), many: [] } }),
    ]);
    expect(tasks[0]?.dependencies).toEqual([
      { taskId: "a", onFailure: "fail" },
      { taskId: "b", onFailure: "run" },
    ]);
  });
  test("the same call twice is two tasks", async () => {
    const call = leaf.with();
    const { tasks, roots } = await prepare([call, call]);
    expect(new Set(tasks.map(({ id }) => id)).size).toBe(2);
    expect(roots).toEqual([0, 1]);
  });
  test("circles through ids, wrong tasks and missing slots are refused", async () => {
    const circle = [
      leaf.with(undefined, { id: "x", after: ["y"] }),
      leaf.with(undefined, { id: "y", after: ["z"] }),
      leaf.with(undefined, { id: "z", after: ["x"] }),
    ];
    await expect(prepare(circle)).rejects.toEqual(code("OMNIQ_INVALID_OPTION", "circle"));
    await expect(
      prepare([tree.with(undefined, { dependsOn: { a: ping.with({ n: 1 }) as never, b: handle("b"), many: [] } })]),
    ).rejects.toEqual(code("OMNIQ_INVALID_OPTION", '"leaf"'));
    await expect(prepare([tree.with(undefined, {} as never)])).rejects.toEqual(
      code("OMNIQ_INVALID_OPTION", "dependsOn.a"),
    );
  });
});

describe("coalescing", () => {
  const call = (id: string, tasks = 1): EnqueueCall => ({
    tasks: Array.from(
      { length: tasks },
      (_, index) => ({ id: `${id}${index}`, payload: id, envelope: "{}" }) as NewTask,
    ),
  });
  const accept = (calls: readonly EnqueueCall[]): EnqueueAnswer[] =>
    calls.map(({ tasks }) => ({ state: "accepted", receipts: tasks.map(({ id }) => ({ id, state: "enqueued" })) }));
  const queue = (enqueue: (calls: readonly EnqueueCall[]) => Promise<EnqueueAnswer[]>): TaskQueue =>
    ({ capabilities, enqueue }) as unknown as TaskQueue;

  test("what comes during a round trip rides in the next, cut to maxBatch", async () => {
    const sizes: number[] = [];
    const coalescer = new EnqueueCoalescer(
      queue(async (calls) => {
        sizes.push(calls.reduce((sum, { tasks }) => sum + tasks.length, 0));
        await new Promise((resolve) => setTimeout(resolve, 5));
        return accept(calls);
      }),
    );
    const first = coalescer.send(call("a"));
    await new Promise((resolve) => setImmediate(resolve));
    const rest = ["b", "c", "d", "e", "f", "g"].map((id) => coalescer.send(call(id)));
    const big = coalescer.send(call("big", 3));
    const answers = await Promise.all([first, ...rest, big]);
    expect(sizes).toEqual([1, 4, 2, 3]);
    expect(answers.map((answer) => answer.state === "accepted" && answer.receipts[0]?.id)).toEqual([
      "a0",
      "b0",
      "c0",
      "d0",
      "e0",
      "f0",
      "g0",
      "big0",
    ]);
  });
  test("a refused call fails alone", async () => {
    const coalescer = new EnqueueCoalescer(
      queue(async (calls) => {
        if (calls.some(({ tasks }) => tasks[0]?.id === "bad0")) throw new OmniQError("OMNIQ_BACKEND_FAILED", "data");
        return accept(calls);
      }),
    );
    const results = await Promise.allSettled(["a", "bad", "b", "c"].map(async (id) => await coalescer.send(call(id))));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
  });
  test("an outage fails the batch at once", async () => {
    let sent = 0;
    const coalescer = new EnqueueCoalescer(
      queue(async () => {
        sent++;
        throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "away");
      }),
    );
    const results = await Promise.allSettled(["a", "b", "c"].map(async (id) => await coalescer.send(call(id))));
    expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(sent).toBe(1);
  });
  test("short round trips to another process are under way two at a time, any others one at a time", async () => {
    const most = async (reach: "network" | "process"): Promise<number> => {
      let underWay = 0;
      let seen = 0;
      const coalescer = new EnqueueCoalescer({
        capabilities: { ...capabilities, reach, maxBatch: 1_000 },
        enqueue: async (calls: readonly EnqueueCall[]) => {
          seen = Math.max(seen, ++underWay);
          await Promise.resolve();
          underWay--;
          return accept(calls);
        },
      } as unknown as TaskQueue);
      for (let round = 0; round < 100 && seen < 2; round++) {
        const answers = await Promise.all(
          Array.from({ length: 100 }, (_, n) => coalescer.send(call(`${round}-${n}-`))),
        );
        expect(answers.map((answer) => answer.state === "accepted" && answer.receipts[0]?.id)).toEqual(
          Array.from({ length: 100 }, (_, n) => `${round}-${n}-0`),
        );
      }
      await coalescer.close();
      return seen;
    };
    expect(await most("network")).toBe(2);
    expect(await most("process")).toBe(1);
  });
  test("an abort takes a call out that was not sent; after closing nothing is taken", async () => {
    const seen: string[] = [];
    const coalescer = new EnqueueCoalescer(
      queue(async (calls) => {
        seen.push(...calls.map(({ tasks }) => tasks[0]?.id as string));
        return accept(calls);
      }),
    );
    const controller = new AbortController();
    const aborted = coalescer.send(call("a"), controller.signal);
    const kept = coalescer.send(call("b"));
    controller.abort(new Error("stop"));
    await expect(aborted).rejects.toThrow("stop");
    await kept;
    await coalescer.close();
    expect(seen).toEqual(["b0"]);
    await expect(coalescer.send(call("c"))).rejects.toEqual(code("OMNIQ_CLOSED"));
  });
});

test("ids: unique, each after those before it, and derived ones short enough", () => {
  const make = (): string[] => Array.from({ length: 10_000 }, newId);
  const before = make();
  // More in one millisecond than it has numbers for, and then a clock that is set back.
  const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 5);
  const still = make();
  clock.mockReturnValue(Date.now() - 3_600_000);
  const back = make();
  clock.mockRestore();
  const ids = [...before, ...still, ...back, ...make()];
  expect(new Set(ids).size).toBe(40_000);
  expect(ids).toEqual(ids.toSorted());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Math.abs(Number.parseInt((before[0] as string).replace("-", "").slice(0, 12), 16) - Date.now())).toBeLessThan(
    60_000,
  );
  expect(occurrenceId("s", 0)).toBe("schedule:s@1970-01-01T00:00:00.000Z");
  const long = "é".repeat(127);
  expect(Buffer.byteLength(occurrenceId(long, 0))).toBeLessThanOrEqual(255);
  expect(occurrenceId(long, 0)).toBe(occurrenceId(long, 0));
  expect(occurrenceId(long, 0)).not.toBe(occurrenceId(long, 1));
});
