// A server that is away or swallows everything: who closes or gives up does not wait for it, and what it may have done is told as unknown.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, test } from "vitest";
import { isOmniQError, type Lease } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { startNode } from "./nodes.ts";
import { Proxy } from "./server.ts";
import { task } from "./tasks.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});
async function behindProxy(): Promise<{ readonly backend: RedisBackend; readonly proxy: Proxy }> {
  const node = await startNode();
  undo.push(() => node.remove());
  const proxy = await Proxy.start(node.url);
  undo.push(() => proxy.stop());
  const backend = redis({ url: proxy.url });
  undo.push(() => backend.close());
  return { backend, proxy };
}
const request = { queues: ["q"], limit: 1, leaseMs: 60_000, worker: "w" };
function isUnknown(error: unknown): boolean {
  return isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN") && error.retryable;
}

for (const [what, harm] of [
  ["swallows everything", async (proxy: Proxy) => void (proxy.swallows = true)],
  ["is away", (proxy: Proxy) => proxy.stop()],
] as const) {
  test(`a server that ${what} keeps nobody who closes for longer than two seconds`, { timeout: 60_000 }, async () => {
    const { backend, proxy } = await behindProxy();
    const queue = backend.taskQueue();
    await backend.check();
    const stop = queue.onCancel(() => undefined);
    const waits = [
      queue.reserve({ ...request, waitMs: 60_000 }),
      queue.reserve({ ...request, queues: ["other"], waitMs: 60_000 }),
      backend.resultStorage().wait([{ taskId: "none", run: 1 }], 60_000),
      backend.eventStorage().tail({}, "now")[Symbol.asyncIterator]().next(),
    ];
    const over = Promise.allSettled(waits);
    await sleep(200);
    await harm(proxy);
    const call = queue.enqueue([{ tasks: [task()] }]).catch(() => undefined);
    await sleep(50);
    const from = performance.now();
    await backend.close();
    await Promise.all([over, call]);
    stop();
    const tookMs = performance.now() - from;
    assert.ok(tookMs < 2_000, `${Math.round(tookMs)} ms`);
    await assert.rejects(queue.counts(), (error) => isOmniQError(error, "OMNIQ_CLOSED"));
    if (what === "is away") await proxy.start();
  });
}

test("a reserve that is aborted rejects at once, though the server swallows everything", async () => {
  const { backend, proxy } = await behindProxy();
  const queue = backend.taskQueue();
  await backend.check();
  proxy.swallows = true;
  for (const waitMs of [0, 60_000]) {
    const controller = new AbortController();
    const call = queue.reserve({ ...request, waitMs }, { signal: controller.signal });
    const told = call.then(
      () => "leases",
      (error: unknown) => error,
    );
    await sleep(50);
    const from = performance.now();
    controller.abort(new Error("stop"));
    assert.equal(((await told) as Error).message, "stop");
    assert.ok(performance.now() - from < 500);
  }
});

test(
  "a write whose answer is lost is told as unknown, and is done once when it is sent again",
  { timeout: 60_000 },
  async () => {
    const { backend, proxy } = await behindProxy();
    const queue = backend.taskQueue();
    await backend.check();
    await queue.enqueue([{ tasks: [task({ id: "known" })] }]);
    /** Lets a call get no answer. */
    const cutOff = async <T>(call: () => Promise<T>): Promise<unknown> => {
      proxy.swallows = true;
      const told = call().then(
        () => assert.fail("an answer came"),
        (error: unknown) => error,
      );
      await sleep(50);
      proxy.cut();
      const error = await told;
      proxy.swallows = false;
      return error;
    };
    const again = { tasks: [task({ id: "unknown" })] };
    assert.ok(isUnknown(await cutOff(() => queue.enqueue([again]))));
    await queue.enqueue([again]);
    await queue.enqueue([again]);
    const [first] = (await queue.reserve({ ...request, waitMs: 0 })) as [Lease];
    const { taskId, queue: name, token, run, attempt } = first;
    const settlement = {
      taskId,
      queue: name,
      token,
      run,
      attempt,
      outcome: "completed",
      storeResult: true,
      value: "v",
    } as const;
    const writes: Record<string, () => Promise<unknown>> = {
      settle: () => queue.settle([settlement]),
      extend: () => queue.extend([settlement], 1_000),
      cancel: () => queue.cancel(["none"]),
      retry: () => queue.retry(["none"]),
      remove: () => queue.remove(["none"]),
      record: () => queue.record([{ taskId: "none", run: 1 }]),
      configureQueue: () => queue.configureQueue("q", { maxActive: 9 }),
      pause: () => queue.pause("other"),
      purge: () => queue.purge("other", ["ready"]),
      putResults: () =>
        backend
          .resultStorage()
          .put([{ taskId: "r", run: 1, attempt: 1, name: "n", queue: "q", status: "completed", ttlMs: null }]),
      deleteResults: () => backend.resultStorage().delete(["none"]),
      putSchedule: () =>
        backend
          .scheduleStorage()
          .put({ id: "s", rule: "r", template: "t", nextAt: 1, runs: 0, paused: false }, undefined),
      deleteSchedule: () => backend.scheduleStorage().delete(["none"]),
    };
    for (const [verb, call] of Object.entries(writes)) {
      const error = await cutOff(call);
      assert.ok(isUnknown(error), `${verb}: ${String(error)}`);
      await call();
    }
    const reads: Record<string, () => Promise<unknown>> = {
      get: () => queue.get(["unknown"]),
      list: () => queue.list({}, { limit: 1 }),
      counts: () => queue.counts(["q"]),
      getResults: () => backend.resultStorage().get(["known"]),
      query: () => backend.eventStorage().query({}, { limit: 1 }),
      due: () => backend.scheduleStorage().due(1),
    };
    for (const [verb, call] of Object.entries(reads)) {
      const error = await cutOff(call);
      assert.ok(isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE") && error.retryable, `${verb}: ${String(error)}`);
      await call();
    }
    assert.equal((await backend.resultStorage().get([taskId]))[0]?.value, "v");
    assert.equal((await queue.counts(["q"]))["q"]?.ready, 1);
  },
);
