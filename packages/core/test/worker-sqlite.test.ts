// The worker on SQLite: durable outcomes, results elsewhere, and heartbeats from a thread while a handler blocks the event loop.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "omniq-worker-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});
const double = defineTask({ name: "double", input: typeOnly<number>(), run: (n) => n * 2 });

test.each(["together", "elsewhere"])("results %s: each task once, with its result", async (where) => {
  const backend = sqlite({ databasePath: join(folder, `${where}.db`), synchronous: "normal" });
  const results = memory({});
  await using omniq = new OmniQ({
    taskQueue: backend,
    eventStorage: backend,
    logger: quiet,
    ...(where === "elsewhere" ? { resultStorage: results } : {}),
  });
  const handles = await omniq.enqueueMany(Array.from({ length: 500 }, (_, n) => double.with(n)));
  expect(await omniq.worker({ tasks: [double], concurrency: 20 }).drain()).toEqual({
    completed: 500,
    retried: 0,
    failed: 0,
    cancelled: 0,
  });
  expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual(
    Array.from({ length: 500 }, (_, n) => n * 2),
  );
});

test("a handler that blocks the event loop for three lease lengths keeps its lease and runs once", async () => {
  const backend = sqlite({ databasePath: join(folder, "block.db") });
  const queue = backend.taskQueue();
  await using omniq = new OmniQ({ taskQueue: backend, logger: quiet });
  let runs = 0;
  const block = defineTask({
    name: "block",
    run: async (_: void, { id }) => {
      runs += 1;
      const end = performance.now() + 2_400;
      while (performance.now() < end);
      // Another consumer asks before the main loop's own heartbeat has had its turn: an expired lease would be taken here.
      const taken = await queue.reserve({ queues: ["default"], limit: 1, leaseMs: 1_000, waitMs: 0, worker: "other" });
      return [taken.length, (await queue.get([id]))[0]?.expiries];
    },
  });
  await using worker = omniq.worker({ tasks: [block], leaseMs: 800 });
  await worker.start();
  // The thread connects on its own; a handler that blocks at the very start would still find it connecting.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  expect(await (await omniq.enqueue(block)).result()).toEqual([0, 0]);
  expect(runs).toBe(1);
});

test("the neighbours of a handler that blocks the event loop are not told that their leases are lost", async () => {
  const backend = sqlite({ databasePath: join(folder, "neighbours.db") });
  await using omniq = new OmniQ({ taskQueue: backend, logger: quiet });
  const aborted: unknown[] = [];
  let blocked = false;
  let neighbours = 0;
  const neighbour = defineTask({
    name: "neighbour",
    run: async (_: void, { signal }) => {
      signal.addEventListener("abort", () => aborted.push(signal.reason));
      neighbours += 1;
      while (!blocked) await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise((resolve) => setTimeout(resolve, 300));
      return "done";
    },
  });
  const block = defineTask({
    name: "block",
    run: () => {
      const end = performance.now() + 2_400;
      while (performance.now() < end);
      blocked = true;
    },
  });
  await using worker = omniq.worker({ tasks: [neighbour, block], leaseMs: 800 });
  await worker.start();
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const handles = await omniq.enqueueMany([neighbour.with(), neighbour.with()]);
  while (neighbours < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await omniq.enqueue(block);
  for (const handle of handles) expect(await handle.result()).toBe("done");
  expect([aborted, neighbours]).toEqual([[], 2]);
});
