// What callers are told: receipts, ids that are freed, outcomes that stand, filters that are refused, iterators that end, and calls without an answer.
import { expect, test, vi } from "vitest";
import { memory } from "@omniq/memory";
import { OmniQ, OmniQError, defineTask, typeOnly, type TaskQueue } from "@omniq/core";

const add = defineTask({ name: "add", input: typeOnly<number>(), run: (value) => value + 1 });

/** A queue with some of its verbs replaced. */
function withVerbs(queue: TaskQueue, verbs: Partial<TaskQueue>): TaskQueue {
  return new Proxy(queue, {
    get: (target, key) => {
      const own = (verbs as Record<PropertyKey, unknown>)[key];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? (value as () => unknown).bind(target) : value;
    },
  });
}

test("a handle says what became of its enqueue", async () => {
  const omniq = new OmniQ({ taskQueue: memory() });
  const key = { key: "k" } as const;
  expect((await omniq.enqueue(add, 1)).receipt).toBe("enqueued");
  expect((await omniq.enqueue(add, 1, { id: "a" })).receipt).toBe("enqueued");
  const again = await omniq.enqueue(add, 1, { id: "a" });
  expect([again.receipt, again.deduplicated]).toEqual(["duplicate", true]);
  await omniq.enqueue(add, 1, { id: "holder", deduplicate: key });
  expect((await omniq.enqueue(add, 2, { deduplicate: key })).receipt).toBe("deduplicated");
  const replaced = await omniq.enqueue(add, 2, { deduplicate: { ...key, mode: "replace" } });
  expect([replaced.receipt, replaced.id]).toEqual(["replaced", "holder"]);
  expect((await omniq.enqueue(add, 2, { delayMs: 5, deduplicate: { ...key, mode: "extend" } })).receipt).toBe(
    "extended",
  );
  expect(omniq.handle("a").receipt).toBeUndefined();
  await omniq.close();
});
test("rememberMs comes from defaults, definition and call, and is never shorter than the result is kept", async () => {
  const backend = memory();
  const sent: number[] = [];
  const queue = backend.taskQueue();
  const spy = vi.spyOn(queue, "enqueue").mockImplementation(async (calls) => {
    for (const { tasks } of calls) for (const { rememberMs } of tasks) sent.push(rememberMs);
    return calls.map(({ tasks }) => ({
      state: "accepted" as const,
      receipts: tasks.map(({ id }) => ({ id, state: "enqueued" as const })),
    }));
  });
  const omniq = new OmniQ({ taskQueue: queue, defaults: { rememberMs: 5_000, resultTtlMs: 1_000 } });
  const own = defineTask({ name: "own", rememberMs: 7_000, input: typeOnly<number>(), run: () => undefined });
  await omniq.enqueue(add, 1);
  await omniq.enqueue(own, 1);
  await omniq.enqueue(own, 1, { id: "x", rememberMs: 0 });
  await omniq.enqueue(own, 1, { id: "y", resultTtlMs: 9_000 });
  const plain = new OmniQ({ taskQueue: queue });
  await plain.enqueue(add, 1);
  await plain.enqueue(add, 1, { id: "z" });
  expect(sent).toEqual([5_000, 7_000, 1_000, 9_000, 600_000, 86_400_000]);
  for (const rememberMs of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, "5", null])
    await expect(omniq.enqueue(add, 1, { rememberMs: rememberMs as number })).rejects.toMatchObject({
      code: "OMNIQ_INVALID_OPTION",
    });
  spy.mockRestore();
  await omniq.close();
});
test("remove deletes the results of what it removed, freed or does not know, and of nothing that is busy", async () => {
  const backend = memory();
  const queue = withVerbs(backend.taskQueue(), {
    remove: async () => ["removed", "freed", "unknown", "busy"],
    unrecorded: async () => [],
  });
  const results = backend.resultStorage();
  const omniq = new OmniQ({ taskQueue: queue, resultStorage: results });
  const ids = ["removed", "freed", "unknown", "busy"];
  await results.put(
    ids.map((taskId) => ({ taskId, run: 1, attempt: 1, name: "n", queue: "q", status: "completed", ttlMs: null })),
  );
  expect(await omniq.tasks.remove(ids)).toEqual(ids);
  expect((await results.get(ids)).map((result) => result?.taskId)).toEqual([undefined, undefined, undefined, "busy"]);
  await omniq.close();
});
test("retry gives the queue the stored results of what the tasks depend on", async () => {
  const backend = memory();
  const given: unknown[] = [];
  const real = backend.taskQueue();
  const queue = withVerbs(real, {
    get: async (ids) => ids.map((id) => ({ id, dependencies: ["d1", "d2"] }) as never),
    retry: async (ids, options) => {
      given.push(options?.outcomes);
      return ids.map(() => "retried" as const);
    },
  });
  const results = backend.resultStorage();
  await results.put([
    { taskId: "d1", run: 2, attempt: 1, name: "n", queue: "q", status: "completed", value: "5", ttlMs: null },
  ]);
  const omniq = new OmniQ({ taskQueue: queue, resultStorage: results });
  await omniq.tasks.retry(["t"]);
  expect(given).toMatchObject([[{ taskId: "d1", run: 2, status: "completed", value: "5" }]]);
  await omniq.close();
});
test("a thousand cancels of handles at once are one call", async () => {
  const backend = memory();
  const real = backend.taskQueue();
  const sizes: number[] = [];
  const queue = withVerbs(real, {
    cancel: async (ids, options) => {
      sizes.push(ids.length);
      return await real.cancel(ids, options);
    },
  });
  const omniq = new OmniQ({ taskQueue: queue });
  const handles = await omniq.enqueueMany(Array.from({ length: 1_000 }, (_, index) => add.with(index)));
  const states = await Promise.all(handles.map((handle) => handle.cancel()));
  expect(new Set(states)).toEqual(new Set(["cancelled"]));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(1_000);
  expect(sizes.length).toBeLessThanOrEqual(Math.ceil(1_000 / real.capabilities.maxBatch));
  await omniq.close();
});
test("words that do not exist are refused, with those that do", async () => {
  const backend = memory();
  const omniq = new OmniQ({ taskQueue: backend, eventStorage: backend });
  const list =
    (filter: object): (() => unknown) =>
    () =>
      omniq.tasks.list(filter);
  expect(list({ states: ["dead"] })).toThrow(/"dead"; there are blocked, scheduled, ready, active, failed/u);
  for (const filter of [{ states: "ready" }, { states: [5] }, { queue: 5 }, { name: "" }, { queues: "q" }])
    expect(list(filter)).toThrow(expect.objectContaining({ code: "OMNIQ_INVALID_OPTION" }));
  for (const filter of [{ types: ["finished"] }, { types: "log" }, { taskId: 5 }, { from: Number.NaN }, { to: "5" }]) {
    expect(() => omniq.events.query(filter as never)).toThrow(
      expect.objectContaining({ code: "OMNIQ_INVALID_OPTION" }),
    );
    expect(() => omniq.events.tail(filter as never)).toThrow(expect.objectContaining({ code: "OMNIQ_INVALID_OPTION" }));
  }
  await expect(omniq.queue("q").purge(["active"])).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  for (const request of [{ limit: 0 }, { limit: Number.NaN }, { limit: "5" }, { cursor: 5 }, { size: 5 }])
    await expect(omniq.tasks.list().page(request as never)).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  const handle = await omniq.enqueue(add, 1);
  for (const options of [
    { timeoutMs: -1 },
    { timeoutMs: Number.NaN },
    { timeoutMs: "5" },
    { signal: {} },
    { timeout: 5 },
  ])
    await expect(handle.result(options as never)).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  await expect(omniq.enqueue(add, 1, { signal: {} as AbortSignal })).rejects.toMatchObject({
    code: "OMNIQ_INVALID_OPTION",
  });
  await omniq.close();
});
test("events of a task that is unknown, finished or removed end", async () => {
  const backend = memory();
  const omniq = new OmniQ({ taskQueue: backend, eventStorage: backend });
  const typesOf = async (id: string): Promise<string[]> => {
    const types: string[] = [];
    for await (const { type } of omniq.handle(id).events()) types.push(type);
    return types;
  };
  expect(await typesOf("never")).toEqual([]);
  await omniq.enqueue(add, 1, { id: "done" });
  await omniq.enqueue(add, 1, { id: "removed", delayMs: 60_000 });
  await omniq.worker({ tasks: [add] }).drain();
  expect(await typesOf("done")).toEqual(["enqueued", "started", "completed"]);
  const following = typesOf("removed");
  expect(await omniq.tasks.remove(["removed"])).toEqual(["removed"]);
  expect(await following).toEqual(["enqueued"]);
  expect(await typesOf("removed")).toEqual(["enqueued"]);
  await omniq.close();
}, 30_000);
test("many waits and enqueues on one signal print no warning, and end with it", async () => {
  const warned = vi.fn();
  process.on("warning", warned);
  const omniq = new OmniQ({ taskQueue: memory() });
  const { signal, abort } = ((controller) => ({ signal: controller.signal, abort: () => controller.abort() }))(
    new AbortController(),
  );
  const handles = await Promise.all(Array.from({ length: 50 }, () => omniq.enqueue(add, 1, { signal })));
  const waits = handles.map((handle) => handle.result({ signal }));
  abort();
  for (const wait of waits) await expect(wait).rejects.toMatchObject({ name: "AbortError" });
  await new Promise((resolve) => setImmediate(resolve));
  process.off("warning", warned);
  expect(warned).not.toHaveBeenCalled();
  await omniq.close();
});

/** A queue that stores what it gets and then gives no answer, so many times. */
function mute(times: number): { queue: TaskQueue; sent: string[][] } {
  const real = memory().taskQueue();
  const sent: string[][] = [];
  let left = times;
  const queue = withVerbs(real, {
    enqueue: async (calls, options) => {
      sent.push(calls.flatMap(({ tasks }) => tasks.map(({ id }) => id)));
      const answers = await real.enqueue(calls, options);
      if (left-- > 0) throw new OmniQError("OMNIQ_OUTCOME_UNKNOWN", "no answer");
      return answers;
    },
  });
  return { queue, sent };
}
test("an enqueue without an answer is sent again under the same ids", async () => {
  const { queue, sent } = mute(2);
  const omniq = new OmniQ({ taskQueue: queue });
  const handles = await Promise.all([omniq.enqueue(add, 1), omniq.enqueue(add, 2)]);
  expect(sent).toHaveLength(3);
  expect(new Set(sent.map((ids) => ids.join())).size).toBe(1);
  expect(handles.map(({ receipt }) => receipt)).toEqual(["enqueued", "enqueued"]);
  expect((await omniq.queue("default").counts()).ready).toBe(2);
  await omniq.close();
});
test("who gives up on an answer says so, and names the id; an abort and a close end it at once", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const { queue, sent } = mute(1_000);
    const omniq = new OmniQ({ taskQueue: queue });
    const given = omniq.enqueue(add, 1, { id: "mine" }).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(await given).toMatchObject({ code: "OMNIQ_OUTCOME_UNKNOWN", retryable: true, taskId: "mine" });
    expect(String(await given)).toContain('"mine"');
    expect(sent.length).toBeGreaterThan(3);
    const controller = new AbortController();
    const aborted = omniq.enqueue(add, 1, { signal: controller.signal }).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(10);
    controller.abort();
    expect(await aborted).toMatchObject({ name: "AbortError" });
    await vi.advanceTimersByTimeAsync(20_000);
    const closing = omniq.enqueue(add, 1).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(10);
    const before = sent.length;
    void omniq.close();
    expect(await closing).toMatchObject({ code: "OMNIQ_OUTCOME_UNKNOWN" });
    expect(sent.length).toBeLessThanOrEqual(before + 1);
  } finally {
    vi.useRealTimers();
  }
});
test("calls are cut by bytes, and one that no batch can carry is refused", async () => {
  const real = memory().taskQueue();
  const sizes: number[] = [];
  const queue = withVerbs(real, {
    enqueue: async (calls, options) => {
      sizes.push(
        calls.reduce((sum, { tasks }) => sum + tasks.reduce((all, { payload }) => all + payload.length, 0), 0),
      );
      return await real.enqueue(calls, options);
    },
    capabilities: { ...real.capabilities, maxPayloadBytes: 100_000_000 },
  });
  const text = defineTask({ name: "text", input: typeOnly<string>() });
  const omniq = new OmniQ({ taskQueue: queue });
  await Promise.all(Array.from({ length: 12 }, () => omniq.enqueue(text, "x".repeat(1_000_000))));
  expect(Math.max(...sizes)).toBeLessThan(4_300_000);
  const large = "x".repeat(15_000_000);
  await expect(omniq.enqueueMany(Array.from({ length: 10 }, () => text.with(large)))).rejects.toMatchObject({
    code: "OMNIQ_INVALID_INPUT",
    message: expect.stringContaining("134217728") as string,
  });
  await omniq.close();
});
