// Leases are handed over in the turn in which they come, on whichever connection, and their handlers do not notice.
import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { afterEach, test } from "vitest";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { startNode } from "./nodes.ts";
import { task } from "./tasks.ts";

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of clean.splice(0).reverse()) await undo();
});

async function open(): Promise<RedisBackend> {
  const node = await startNode();
  clean.push(() => node.remove());
  const backend = redis({ url: node.url });
  clean.push(() => backend.close());
  return backend;
}

test("a task that is ready, and one that wakes a waiting reserve, are handed over at once", async () => {
  const queue = (await open()).taskQueue();
  // The first of a kind comes by the promise, since its kind must be read.
  for (let n = 0; n < 8; n++) {
    await queue.enqueue([{ tasks: [task()], generatedIds: true }]);
    const [lease] = await queue.reserve({ queues: ["q"], limit: 1, leaseMs: 30_000, waitMs: 0, worker: "w" });
    assert.ok(lease);
  }
  for (const waitMs of [0, 5_000]) {
    const handed: string[] = [];
    const made = task();
    if (waitMs === 0) await queue.enqueue([{ tasks: [made] }]);
    const reserved = queue.reserve(
      { queues: ["q"], limit: 5, leaseMs: 30_000, waitMs, worker: "w" },
      { onLeases: (leases) => void handed.push(...leases.map(({ taskId }) => taskId)) },
    );
    if (waitMs > 0) await queue.enqueue([{ tasks: [made], generatedIds: true }]);
    assert.deepEqual(await reserved, []);
    assert.deepEqual(handed, [made.id]);
  }
});

test("handlers run in the context in which their worker was started, not in that of the call that opened the connection", async () => {
  const context = new AsyncLocalStorage<string>();
  const seen = new Set<string>();
  let done = 0;
  const noted = defineTask({
    name: "noted",
    input: typeOnly<number>(),
    run: () => {
      seen.add(context.getStore() ?? "none");
      done++;
    },
  });
  const omniq = new OmniQ({ taskQueue: await open() });
  clean.push(() => omniq.close());
  // What opens the connection, and brings tasks that are ready when the worker starts.
  await context.run("request", async () => {
    for (let n = 0; n < 6; n++) await omniq.enqueue(noted, n);
  });
  const worker = await context.run("worker", async () => {
    const made = omniq.worker({ tasks: [noted], concurrency: 4 });
    await made.start();
    return made;
  });
  for (let n = 6; n < 12; n++) {
    const handle = await context.run("request", () => omniq.enqueue(noted, n));
    await handle.result();
  }
  await worker.stop();
  assert.equal(done, 12);
  assert.deepEqual([...seen], ["worker"]);
});
