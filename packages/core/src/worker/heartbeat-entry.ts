// The heartbeat thread itself: it connects on its own and extends the worker's leases while the main thread shows no life.
import { parentPort, workerData } from "node:worker_threads";
import type { AnyAdapter, BackendBase } from "../backend.ts";
import type { TaskQueue } from "../contracts/index.ts";
import type { HeartbeatThreadData, ThreadExtension } from "./heartbeat-thread.ts";
import { LeaseBoardReader, leaseKey, sharedNow } from "./lease-board.ts";

const { remote, leaseMs, life, board, news } = workerData as HeartbeatThreadData;
const counter = new Int32Array(life);
const reader = new LeaseBoardReader(board);
let lastCount = -1;
let lastLife = performance.now();
let extending = false;

parentPort?.on("message", (moved: SharedArrayBuffer) => reader.moved(moved));

/** Shorter leases leave no time to connect when they are needed. */
const longLeaseMs = 10_000;
let connecting: Promise<TaskQueue> | undefined;

/** Most workers are never blocked: with long leases the connection is made at the first sign of silence, long before the first extension. */
function connected(): Promise<TaskQueue> {
  connecting ??= connect().catch((error: unknown) => {
    connecting = undefined;
    throw error;
  });
  return connecting;
}

async function connect(): Promise<TaskQueue> {
  const { adapter } = (await import(remote.module)) as { adapter: AnyAdapter };
  const backend = adapter(remote.options) as BackendBase & { taskQueue(): TaskQueue };
  await backend.check();
  return backend.taskQueue();
}

async function extend(silentMs: number): Promise<void> {
  // A handler that hangs for longer than its time limit must lose its lease at last.
  const alive = reader.leases().filter(({ silenceMs }) => silenceMs === null || silentMs <= silenceMs);
  if (alive.length === 0) return;
  const queue = await connected();
  const { maxBatch } = queue.capabilities;
  for (let start = 0; start < alive.length; start += maxBatch) {
    const part = alive.slice(start, start + maxBatch);
    const sentAt = sharedNow();
    const sentWall = Date.now();
    const states = await queue.extend(
      part.map(({ taskId, queue: name, token, run, attempt }) => ({ taskId, queue: name, token, run, attempt })),
      leaseMs,
    );
    const held: string[] = [];
    part.forEach((lease, index) => {
      const state = states[index]?.state ?? "lost";
      if (state === "lost") reader.lost(lease);
      else held.push(leaseKey(lease));
    });
    if (held.length > 0) news.postMessage({ held, sentAt, sentWall } satisfies ThreadExtension);
  }
}

let extendedAt = 0;
setInterval(
  () => {
    const now = performance.now();
    const count = Atomics.load(counter, 0);
    if (count !== lastCount) {
      lastCount = count;
      lastLife = now;
    }
    const silentMs = now - lastLife;
    if (silentMs >= leaseMs / 8 || leaseMs < longLeaseMs) connected().catch(() => undefined);
    if (silentMs < leaseMs / 4 || now - extendedAt < leaseMs / 4 || extending) return;
    extending = true;
    extendedAt = now;
    extend(silentMs)
      .catch(() => {
        // Tried again soon; the lease lasts for several tries.
        extendedAt = 0;
      })
      .finally(() => {
        extending = false;
      });
  },
  Math.max(1, Math.floor(leaseMs / 12)),
);
