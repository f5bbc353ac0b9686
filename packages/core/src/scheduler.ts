// Upkeep that any process may run: due schedules become tasks, outcomes are recorded, components are swept.
import type { Runtime } from "./runtime.ts";
import { tickerOf } from "./schedule-ticker.ts";
import { recordOutcomes } from "./unrecorded.ts";

/** Upkeep for a process without a worker. Any number may run: what one does, the others find done. */
export interface Scheduler extends AsyncDisposable {
  /** Until stopped: enqueues what schedules bring when it is due, records outcomes every second, and sweeps. */
  start(): Promise<void>;
  /** Resolves when the tick under way is over. */
  stop(): Promise<void>;
  /** Once: enqueues what is due, records outcomes, sweeps. Says how many tasks it enqueued. */
  tick(): Promise<number>;
}

const roundMs = 1_000;
const sweepEveryMs = 10_000;
const sweepLimit = 1_000;

/** Enqueues what is due. Says how many tasks it enqueued. */
export async function tickSchedules(runtime: Runtime): Promise<number> {
  return await tickerOf(runtime).tick();
}

/** Sweeps every component once. Says how much it changed. */
export async function sweepComponents(runtime: Runtime): Promise<number> {
  const { taskQueue, resultStorage, eventStorage } = runtime;
  const counts = await Promise.all([
    taskQueue.sweep(sweepLimit),
    resultStorage?.sweep(sweepLimit) ?? 0,
    eventStorage?.sweep(sweepLimit) ?? 0,
  ]);
  return counts.reduce((sum, count) => sum + count, 0);
}

/** Records what queues decided, all of it, in rounds. */
export async function recordAll(runtime: Runtime): Promise<number> {
  let total = 0;
  // A bound on rounds: others may add as fast as this one drains.
  for (let round = 0; round < 20; round++) {
    const count = await recordOutcomes(runtime, sweepLimit);
    total += count;
    if (count === 0) break;
  }
  return total;
}

/** A scheduler of a client. */
export function createScheduler(runtime: Runtime): Scheduler {
  let running: { readonly controller: AbortController; readonly done: Promise<void> } | undefined;
  let forget = (): void => undefined;

  const tick = async (): Promise<number> => {
    await runtime.ready();
    const enqueued = await tickSchedules(runtime);
    await sweepComponents(runtime);
    await recordAll(runtime);
    return enqueued;
  };

  const loop = async (signal: AbortSignal): Promise<void> => {
    let sweptAt = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      try {
        await recordAll(runtime);
        if (performance.now() - sweptAt >= sweepEveryMs) {
          sweptAt = performance.now();
          await sweepComponents(runtime);
        }
      } catch (error) {
        if (!signal.aborted) runtime.logger.warn("Upkeep of the scheduler failed; it is tried again", { error });
      }
      await sleep(roundMs, signal);
    }
  };

  const stop = async (): Promise<void> => {
    const current = running;
    if (!current) return;
    running = undefined;
    current.controller.abort();
    await Promise.all([tickerOf(runtime).stop(), current.done]);
    forget();
  };

  return {
    tick,
    stop,
    async start() {
      if (running) return;
      await runtime.ready();
      const controller = new AbortController();
      if (running) return;
      tickerOf(runtime).start();
      running = { controller, done: loop(controller.signal) };
      forget = runtime.onClose(stop);
    },
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
