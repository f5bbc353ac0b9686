// The memory backend: waits, shared names, a clock of the test's, and its end.
import { isOmniQError, type NewTask, type StoredEvent } from "@omniq/core";
import { describe, expect, it } from "vitest";
import { adapter, memory } from "../src/index.ts";

const task = (id: string, more: Partial<NewTask> = {}): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload: "p",
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 0,
  ...more,
});
const request = { queues: ["q"], limit: 1, leaseMs: 30_000, waitMs: 30_000, worker: "w" };

describe("memory", () => {
  it("wake-up: waiting reserves are served first come first served, and at due times", async () => {
    await using backend = memory();
    const queue = backend.taskQueue();
    const first = queue.reserve(request);
    const second = queue.reserve(request);
    await queue.enqueue([{ tasks: [task("a"), task("b", { delayMs: 30 })] }]);
    expect((await first)[0]?.taskId).toBe("a");
    const [lease] = await second;
    expect(lease?.taskId).toBe("b");
    expect(lease?.sentAt).toBeTypeOf("number");
    expect(await queue.reserve({ ...request, waitMs: 5 })).toEqual([]);
  });
  it("an aborted wait rejects with the reason and takes nothing; close ends waits", async () => {
    const backend = memory();
    const queue = backend.taskQueue();
    const controller = new AbortController();
    const aborted = queue.reserve(request, { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(aborted).rejects.toBe(reason);
    await queue.enqueue([{ tasks: [task("a")] }]);
    expect((await queue.counts(["q"]))["q"]?.ready).toBe(1);
    await queue.reserve(request);
    const waits = [queue.reserve(request), backend.resultStorage().wait([{ taskId: "a", run: 1 }], 60_000)];
    const ended = backend.eventStorage().tail({}, "now")[Symbol.asyncIterator]().next();
    const outcomes = Promise.allSettled(waits);
    await backend.close();
    await backend.close();
    for (const outcome of await outcomes)
      expect(outcome.status === "rejected" && isOmniQError(outcome.reason, "OMNIQ_CLOSED")).toBe(true);
    expect((await ended).done).toBe(true);
    await expect(queue.get(["a"])).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
  });
  it("result-wait, event-tail and settleAndReserve", async () => {
    await using backend = memory();
    const queue = backend.taskQueue();
    await queue.enqueue([{ tasks: [task("a"), task("b")] }]);
    const result = backend.resultStorage().wait(
      [
        { taskId: "x", run: 1 },
        { taskId: "a", run: 1 },
      ],
      60_000,
    );
    const event = {
      at: Date.now(),
      type: "completed",
      taskId: "a",
      taskName: "n",
      queue: "q",
      run: 1,
      attempt: 1,
    } as const;
    const seen: StoredEvent[] = [];
    const tail = (async () => {
      for await (const each of backend.eventStorage().tail({ taskId: "a" }, "start")) if (seen.push(each) === 2) return;
    })();
    const [lease] = await queue.reserve(request);
    const joined = await queue.settleAndReserve?.(
      [{ ...lease!, outcome: "completed", storeResult: true, value: "v", events: [{ ...event, id: "1" }] }],
      request,
    );
    expect(joined?.states).toEqual(["settled"]);
    expect(joined?.leases[0]?.taskId).toBe("b");
    expect(await result).toMatchObject([{ taskId: "a", value: "v" }]);
    await backend.eventStorage().append([
      { ...event, id: "2" },
      { ...event, id: "1" },
    ]);
    await tail;
    expect(seen.map(({ id }) => id)).toEqual(["1", "2"]);
  });
  it("a clock of the test's: due when it says so, waits see it jump", async () => {
    let now = 1_000_000;
    await using backend = memory({ now: () => now });
    const queue = backend.taskQueue();
    await queue.enqueue([{ tasks: [task("a", { delayMs: 3_600_000 })] }]);
    const waiting = queue.reserve(request);
    expect((await queue.counts(["q"]))["q"]?.scheduled).toBe(1);
    now += 3_600_000;
    expect((await queue.get(["a"]))[0]?.state).toBe("ready");
    expect((await waiting)[0]?.taskId).toBe("a");
  });
  it("a name shares one state until all are closed; without a name, none", async () => {
    const one = memory({ name: "shared" });
    const two = adapter(adapter.fromUrl?.("memory://shared") as { name: string });
    await one.taskQueue().enqueue([{ tasks: [task("a")] }]);
    expect(await memory().taskQueue().get(["a"])).toEqual([undefined]);
    await one.close();
    expect((await two.taskQueue().get(["a"]))[0]?.id).toBe("a");
    expect(two.taskQueue().backend).toBe(two.resultStorage().backend);
    await two.close();
    await using three = memory({ name: "shared" });
    expect(await three.taskQueue().get(["a"])).toEqual([undefined]);
  });
  it("refuses unknown states, types and statuses in filters, and values that no store could keep", async () => {
    await using backend = memory();
    const refused = { code: "OMNIQ_INVALID_OPTION" };
    const queue = backend.taskQueue();
    await expect(queue.list({ states: ["dead" as never] }, {})).rejects.toMatchObject(refused);
    await expect(backend.eventStorage().query({ types: ["done" as never] }, {})).rejects.toMatchObject(refused);
    const events = backend.eventStorage().tail({ types: ["done" as never] }, "now");
    const tail = events[Symbol.asyncIterator]();
    await expect(tail.next()).rejects.toMatchObject(refused);
    await expect(backend.resultStorage().list({ status: "done" as never }, {})).rejects.toMatchObject(refused);
    await queue.enqueue([{ tasks: [task("a")] }]);
    const [lease] = await queue.reserve(request);
    for (const delayMs of [Number.POSITIVE_INFINITY, Number.NaN, new Date() as never])
      await expect(queue.settle([{ ...lease!, outcome: "retry", delayMs, error: "e" }])).rejects.toMatchObject(refused);
    expect(await queue.settle([{ ...lease!, outcome: "retry", delayMs: 0, error: "e" }])).toEqual(["settled"]);
  });
  it("cancel-push: every backend of the name hears of an active task, and a listener that throws harms nobody", async () => {
    await using one = memory({ name: "cancels" });
    await using two = memory({ name: "cancels" });
    const heard: string[] = [];
    one.taskQueue().onCancel?.(() => {
      throw new Error("enough");
    });
    const end = one.taskQueue().onCancel?.((ids) => heard.push(...ids));
    await one.taskQueue().enqueue([{ tasks: [task("a"), task("b")] }]);
    await one.taskQueue().reserve(request);
    expect(await two.taskQueue().cancel(["a", "b"])).toEqual(["cancelling", "cancelled"]);
    expect(heard).toEqual(["a"]);
    end?.();
    await two.taskQueue().cancel(["a"]);
    expect(heard).toEqual(["a"]);
  });
  it("refuses transactions, leases that are too short and wrong options", async () => {
    await using backend = memory();
    await expect(backend.taskQueue().enqueue([], { transaction: {} })).rejects.toMatchObject({
      code: "OMNIQ_UNSUPPORTED",
    });
    await expect(backend.taskQueue().reserve({ ...request, leaseMs: 0 })).rejects.toMatchObject({
      code: "OMNIQ_INVALID_OPTION",
    });
    expect(() => memory({ eventTtlMs: 0 })).toThrow("eventTtlMs");
  });
});
