// The client over a stub: handles, waits, flows, schedules, options, closing. Whole systems are tested with real backends elsewhere.
import { describe, expect, test } from "vitest";
import type { Backend } from "../src/backend.ts";
import { OmniQ, type OmniQOptions } from "../src/client.ts";
import { allowFailure, defineTask } from "../src/define-task.ts";
import { jsonSerializer } from "../src/serializer.ts";
import { typeOnly } from "../src/standard-schema.ts";
import { StubBackend } from "./stub-backend.ts";

const add = defineTask({ name: "add", input: typeOnly<{ a: number }>(), output: typeOnly<number>() });
const code = (name: string, message = ""): unknown =>
  expect.objectContaining({ code: name, message: expect.stringContaining(message) as string });
function setUp(more: Partial<OmniQOptions> = {}): { stub: StubBackend; omniq: OmniQ } {
  const stub = new StubBackend();
  return { stub, omniq: new OmniQ({ taskQueue: stub as unknown as Backend, ...more }) };
}

describe("construction", () => {
  const make = (options: object): OmniQ => new OmniQ(options as OmniQOptions);
  test.each<[string, object, string]>([
    ["nothing", {}, "taskQueue"],
    ["an unknown option", { taskQueue: new StubBackend(), queue: 1 }, '"queue"'],
    ["a description", { taskQueue: "redis://localhost" }, "OmniQ.load"],
    ["something else", { taskQueue: {} }, "neither"],
    ["the wrong component", { taskQueue: new StubBackend().resultStorage() }, "result-storage"],
    ["what the backend lacks", { taskQueue: new StubBackend(), eventStorage: new StubBackend() }, '"stub" offers none'],
    ["wrong defaults", { taskQueue: new StubBackend(), defaults: { priority: 1.5 } }, "priority in defaults"],
    ["wrong settings", { taskQueue: new StubBackend(), queues: { a: { maxActive: 0 } } }, "maxActive"],
  ])("refuses %s", (_name, options, message) =>
    expect(() => make(options)).toThrow(code("OMNIQ_INVALID_OPTION", message) as Error),
  );
  test("a backend of another contract", () =>
    expect(() => make({ taskQueue: Object.assign(new StubBackend(), { contract: 2 }) })).toThrow(
      code("OMNIQ_ADAPTER_INCOMPATIBLE") as Error,
    ));
  test("queue settings are stored before the first task; what the backend lacks is refused", async () => {
    const { stub, omniq } = setUp({ queues: { mail: { maxActive: 3 } } });
    await omniq.enqueue(add, { a: 1 });
    expect(stub.settings.get("mail")).toEqual({ maxActive: 3 });
    await expect(omniq.queue("mail").configure({ rateLimit: { limit: 1, windowMs: 1 } })).rejects.toEqual(
      code("OMNIQ_UNSUPPORTED", "rate limits"),
    );
  });
});

describe("handles", () => {
  test("many handles get their own outputs", async () => {
    const { stub, omniq } = setUp();
    const handles = await omniq.enqueueMany(Array.from({ length: 50 }, (_, a) => add.with({ a })));
    const outputs = Promise.all(handles.map(async (handle) => await handle.result()));
    for (const [index, handle] of handles.entries())
      setTimeout(() => stub.finish(handle.id, { value: String(index) }), index % 7);
    expect(await outputs).toEqual(handles.map((_, index) => index));
    expect(stub.calls).toHaveLength(1);
  });
  test("waits that begin one after another all end", async () => {
    const { stub, omniq } = setUp();
    const handles = await omniq.enqueueMany(Array.from({ length: 12 }, (_, a) => add.with({ a })));
    const outputs: Promise<number>[] = [];
    for (const handle of handles) {
      outputs.push(handle.result());
      await new Promise((resolve) => setImmediate(resolve));
    }
    for (const handle of [...handles].reverse()) stub.finish(handle.id, { value: "1" });
    expect(await Promise.all(outputs)).toHaveLength(12);
  });
  test("a failure is an OMNIQ_TASK_FAILED with what was thrown as its cause", async () => {
    const { stub, omniq } = setUp();
    const handle = await omniq.enqueue(add, { a: 1 });
    stub.finish(handle.id, { status: "failed", error: jsonSerializer.serialize(new RangeError("too big")) }, true);
    await expect(handle.result()).rejects.toMatchObject({
      code: "OMNIQ_TASK_FAILED",
      taskId: handle.id,
      cause: { name: "RangeError", message: "too big" },
    });
    expect(await handle.outcome()).toMatchObject({ status: "failed", attempt: 1 });
    expect(await handle.cancel()).toBe("finished");
  });
  test("what a queue wrote keeps its code", async () => {
    const { stub, omniq } = setUp();
    const handle = await omniq.enqueue(add, { a: 1 });
    stub.finish(handle.id, { status: "failed", error: '{"code":"OMNIQ_LEASE_LOST","message":"three times"}' }, true);
    await expect(handle.result()).rejects.toEqual(code("OMNIQ_LEASE_LOST", "three times"));
  });
  test("a retried task's result is that of its new run", async () => {
    const { stub, omniq } = setUp();
    const handle = await omniq.enqueue(add, { a: 1 });
    stub.finish(handle.id, { status: "failed" }, true);
    expect(await omniq.tasks.retry([handle.id, "nobody"])).toEqual(["retried", "unknown"]);
    const output = handle.result();
    await new Promise((resolve) => setTimeout(resolve, 10));
    stub.finish(handle.id, { value: "42" });
    expect(await output).toBe(42);
  });
  test("unknown, forgotten and unkept results are errors", async () => {
    const { stub, omniq } = setUp();
    await expect(omniq.handle(add, "nobody").result()).rejects.toEqual(code("OMNIQ_TASK_NOT_FOUND", "never enqueued"));
    expect(await omniq.handle("nobody").status()).toBeUndefined();
    expect(await omniq.handle("nobody").cancel()).toBe("unknown");
    const none = await omniq.enqueue(add, { a: 1 }, { resultTtlMs: 0 });
    await expect(omniq.handle(none.id).result()).rejects.toEqual(code("OMNIQ_TASK_NOT_FOUND", "resultTtlMs 0"));
    const gone = await omniq.enqueue(add, { a: 1 });
    const result = gone.result();
    stub.tasks.delete(gone.id);
    await expect(result).rejects.toEqual(code("OMNIQ_TASK_NOT_FOUND"));
    await expect(setUp({ resultStorage: false }).omniq.handle("x").result()).rejects.toEqual(
      code("OMNIQ_UNSUPPORTED", "no result storage"),
    );
  });
  test("cancelled and expired tasks tell without a worker", async () => {
    const { stub, omniq } = setUp();
    const cancelled = await omniq.enqueue(add, { a: 1 });
    expect(await cancelled.cancel()).toBe("cancelled");
    await expect(cancelled.result()).rejects.toEqual(code("OMNIQ_TASK_CANCELLED"));
    expect((await cancelled.status())?.state).toBe("cancelled");
    const expired = await omniq.enqueue(add, { a: 1 }, { expiresInMs: 5 });
    stub.now += 5;
    await expect(omniq.handle(expired.id).result()).rejects.toEqual(code("OMNIQ_TASK_EXPIRED"));
  });
  test("a limit, a signal and closing end a wait", async () => {
    const { stub, omniq } = setUp();
    const handle = await omniq.enqueue(add, { a: 1 });
    await expect(handle.result({ timeoutMs: 5 })).rejects.toEqual(code("OMNIQ_TIMEOUT"));
    await expect(handle.result({ signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow("enough");
    const open = expect(handle.result()).rejects.toEqual(code("OMNIQ_CLOSED"));
    await omniq.close();
    await omniq.close();
    await open;
    expect(stub.closed).toBe(1);
    await expect(omniq.enqueue(add, { a: 1 })).rejects.toEqual(code("OMNIQ_CLOSED"));
  });
  test("the same id twice is one task", async () => {
    const { omniq } = setUp();
    expect((await omniq.enqueue(add, { a: 1 }, { id: "x" })).deduplicated).toBe(false);
    expect((await omniq.enqueue(add, { a: 1 }, { id: "x" })).deduplicated).toBe(true);
  });
});

describe("dependencies", () => {
  const after = defineTask({ name: "after", dependsOn: { a: add, b: allowFailure(add) }, run: () => 1 });
  test("one that has left its queue goes along with its stored outcome", async () => {
    const { stub, omniq } = setUp();
    const a = await omniq.enqueue(add, { a: 1 });
    stub.finish(a.id, { value: "7" });
    const handle = await omniq.enqueue(after, undefined, { dependsOn: { a, b: add.with({ a: 2 }) } });
    expect(stub.enqueued.get(handle.id)?.dependencies?.[0]).toMatchObject({
      taskId: a.id,
      outcome: { status: "completed", value: "7", run: 1 },
    });
    expect(stub.calls.at(-1)?.[0]?.tasks).toHaveLength(2);
  });
  test("one that nobody knows is an error", async () => {
    const { stub, omniq } = setUp();
    await expect(omniq.enqueue(add, { a: 1 }, { after: ["nobody"] })).rejects.toEqual(
      code("OMNIQ_TASK_NOT_FOUND", '"nobody"'),
    );
    expect(stub.enqueued.size).toBe(0);
  });
});

describe("schedules", () => {
  test("each occurrence is one task, whoever ticks", async () => {
    const { stub, omniq } = setUp();
    const other = new OmniQ({ taskQueue: stub as unknown as Backend });
    await omniq.schedules.put("every", { everyMs: 60_000, task: add.with({ a: 1 }, { priority: 3 }), maxRuns: 2 });
    expect(await omniq.scheduler().tick()).toBe(0);
    stub.now += 60_000;
    await Promise.all([omniq.scheduler().tick(), other.scheduler().tick(), omniq.scheduler().tick()]);
    expect([...stub.enqueued.values()]).toEqual([
      expect.objectContaining({
        id: `schedule:every@${new Date(stub.now).toISOString()}`,
        priority: 3,
        rememberMs: 86_400_000,
      }),
    ]);
    stub.now += 600_000;
    expect(await omniq.scheduler().tick()).toBe(1);
    expect(await omniq.schedules.get("every")).toEqual({
      id: "every",
      taskName: "add",
      nextAt: null,
      runs: 2,
      paused: false,
    });
  });
  test("an unchanged rule keeps its place, a changed one starts over", async () => {
    const { stub, omniq } = setUp();
    const first = await omniq.schedules.put("s", { everyMs: 60_000, task: add.with({ a: 1 }) });
    await omniq.schedules.pause("s");
    stub.now += 5_000;
    const same = await omniq.schedules.put("s", { everyMs: 60_000, task: add.with({ a: 2 }) });
    expect(same).toEqual({ ...first, paused: true });
    expect(stub.schedules.get("s")?.template).toContain('{\\"a\\":2}');
    expect((await omniq.schedules.put("s", { everyMs: 30_000, task: add.with({ a: 2 }) })).nextAt).toBe(
      stub.now + 30_000,
    );
    stub.now += 1_000_000;
    await omniq.schedules.resume("s");
    expect((await omniq.schedules.get("s"))?.nextAt).toBeGreaterThan(stub.now);
  });
  test("concurrent writers do not lose each other's changes", async () => {
    const { omniq } = setUp();
    await omniq.schedules.put("s", { everyMs: 60_000, task: add.with({ a: 1 }) });
    await Promise.all([
      omniq.schedules.pause("s"),
      omniq.schedules.put("s", { everyMs: 60_000, task: add.with({ a: 2 }) }),
      omniq.schedules.pause("s"),
    ]);
    expect((await omniq.schedules.get("s"))?.paused).toBe(true);
  });
  test("run now, list, delete, and what is not there", async () => {
    const { stub, omniq } = setUp();
    await omniq.schedules.put("s", { at: stub.now + 1_000, task: add.with({ a: 1 }) });
    expect(stub.enqueued.has(await omniq.schedules.runNow("s"))).toBe(true);
    const ids: string[] = [];
    for await (const { id } of omniq.schedules.list()) ids.push(id);
    expect(ids).toEqual(["s"]);
    expect([await omniq.schedules.delete("s"), await omniq.schedules.delete("s")]).toEqual([true, false]);
    for (const act of ["pause", "resume", "runNow"] as const)
      await expect(omniq.schedules[act]("s")).rejects.toEqual(code("OMNIQ_SCHEDULE_NOT_FOUND"));
    await expect(omniq.schedules.put("s", { at: 1, task: add.with({ a: 1 }, { id: "x" }) })).rejects.toEqual(
      code("OMNIQ_INVALID_OPTION", "id"),
    );
    await expect(setUp({ scheduleStorage: false }).omniq.schedules.get("s")).rejects.toEqual(code("OMNIQ_UNSUPPORTED"));
  });
});

test("events without an event storage are unsupported", async () => {
  const { omniq } = setUp();
  expect(() => omniq.events.query()).toThrow(code("OMNIQ_UNSUPPORTED") as Error);
});
