// The heartbeat thread itself: it connects on its own and extends the worker's leases while the main thread shows no life.
import { parentPort, workerData } from "node:worker_threads";
import type { AnyAdapter, BackendBase } from "../backend.ts";
import type { TaskQueue } from "../contracts/index.ts";
import { readLeases, type HeartbeatMessage, type HeartbeatThreadData, type RemoteLease } from "./heartbeat-thread.ts";

const { remote, leaseMs, life } = workerData as HeartbeatThreadData;
const counter = new Int32Array(life);
/** What came together, and how many of it are still held. */
interface Held {
  readonly first: number;
  readonly count: number;
  readonly text: string;
  readonly dropped: Set<number>;
}
/** By first slot, in that order: slots only grow. */
let batches: Held[] = [];
let lastCount = -1;
let lastLife = performance.now();
let extending = false;
let queue: TaskQueue | undefined;

parentPort?.on("message", ({ add, drop }: HeartbeatMessage) => {
  if (add !== undefined) batches.push({ ...add, dropped: new Set() });
  for (const slot of drop) dropSlot(slot);
  batches = batches.filter((batch) => batch.dropped.size < batch.count);
});

function dropSlot(slot: number): void {
  let low = 0;
  let high = batches.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((batches[middle] as Held).first <= slot) low = middle + 1;
    else high = middle;
  }
  const batch = batches[low - 1];
  if (batch !== undefined && slot < batch.first + batch.count) batch.dropped.add(slot);
}

interface Slotted {
  readonly slot: number;
  readonly lease: RemoteLease;
}

function leasesHeld(): readonly Slotted[] {
  return batches.flatMap(({ first, text, dropped }) =>
    readLeases(text)
      .map((lease, index) => ({ slot: first + index, lease }))
      .filter(({ slot }) => !dropped.has(slot)),
  );
}

async function connect(): Promise<TaskQueue> {
  const { adapter } = (await import(remote.module)) as { adapter: AnyAdapter };
  const backend = adapter(remote.options) as BackendBase & { taskQueue(): TaskQueue };
  await backend.check();
  return backend.taskQueue();
}

async function extend(silentMs: number): Promise<void> {
  queue ??= await connect();
  const { maxBatch } = queue.capabilities;
  // A handler that hangs for longer than its time limit must lose its lease at last.
  const alive = leasesHeld().filter(({ lease }) => lease.silenceMs === null || silentMs <= lease.silenceMs);
  for (let start = 0; start < alive.length; start += maxBatch) {
    const part = alive.slice(start, start + maxBatch);
    const states = await queue.extend(
      part.map(({ lease }) => ({
        taskId: lease.taskId,
        queue: lease.queue,
        token: lease.token,
        run: lease.run,
        attempt: lease.attempt,
      })),
      leaseMs,
    );
    part.forEach(({ slot }, index) => {
      if (states[index]?.state === "lost") dropSlot(slot);
    });
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
    if (silentMs < leaseMs / 4 || now - extendedAt < leaseMs / 4 || batches.length === 0 || extending) return;
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
// A connection made in time: connecting while the lease runs out could be too late.
connect().then(
  (made) => {
    queue ??= made;
  },
  () => undefined,
);
