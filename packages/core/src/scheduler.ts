// Upkeep that any process may run: due schedules become tasks, outcomes are recorded, components are swept.
import { rememberGivenMs } from "./enqueue-prepare.ts";
import { isOmniQError } from "./errors.ts";
import type { Runtime } from "./runtime.ts";
import type { StoredSchedule } from "./contracts/index.ts";
import { decideDue } from "./schedule-rule.ts";
import { decodeRule, decodeTemplate } from "./schedule-storage-text.ts";
import { occurrenceId } from "./task-id.ts";
import { recordOutcomes } from "./unrecorded.ts";

/** Upkeep for a process without a worker. Any number may run: what one does, the others find done. */
export interface Scheduler extends AsyncDisposable {
  /** Ticks every second until stopped. */
  start(): Promise<void>;
  /** Resolves when the tick under way is over. */
  stop(): Promise<void>;
  /** Once: enqueues what is due, records outcomes, sweeps. Says how many tasks it enqueued. */
  tick(): Promise<number>;
}

const tickMs = 1_000;
const sweepEveryMs = 10_000;
const schedulesPerTick = 200;
const sweepLimit = 1_000;

/**
 * Enqueues what is due (`schedule-once`): first the tasks, under ids made of schedule and time, then the advance by
 * compare-and-set, so that
 * any number of processes and crashes make one task per occurrence. One bad schedule does not stop the others. Says
 * how many it enqueued.
 */
export async function tickSchedules(runtime: Runtime): Promise<number> {
  const { scheduleStorage, logger } = runtime;
  if (!scheduleStorage) return 0;
  const { now, schedules } = await scheduleStorage.due(schedulesPerTick);
  const counts = await Promise.all(
    schedules.map(async (schedule) => {
      try {
        return await runDue(runtime, schedule, now);
      } catch (error) {
        if (isOmniQError(error) && (error.retryable || error.code === "OMNIQ_CLOSED")) throw error;
        logger.error("A schedule could not be run; it is tried again at the next tick", {
          scheduleId: schedule.id,
          error,
        });
        return 0;
      }
    }),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

async function runDue(runtime: Runtime, schedule: StoredSchedule, now: number): Promise<number> {
  if (schedule.nextAt === null) return 0;
  const { rule, anchor } = decodeRule(schedule);
  const template = decodeTemplate(schedule);
  const { occurrences, nextAt, runs } = decideDue(rule, schedule.nextAt, schedule.runs, now, anchor);
  const tasks = occurrences.map((at) => ({
    ...template,
    id: occurrenceId(schedule.id, at),
    rememberMs: rememberGivenMs,
  }));
  // In order, and riding together in one round trip.
  await Promise.all(tasks.map(async (task) => await runtime.enqueuePrepared(task)));
  await runtime.scheduleStorage?.advance(schedule.id, schedule.revision, { nextAt, runs });
  return tasks.length;
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
        await tickSchedules(runtime);
        await recordAll(runtime);
        if (performance.now() - sweptAt >= sweepEveryMs) {
          sweptAt = performance.now();
          await sweepComponents(runtime);
        }
      } catch (error) {
        if (!signal.aborted) runtime.logger.warn("A tick of the scheduler failed; the next one tries again", { error });
      }
      await sleep(tickMs, signal);
    }
  };

  const stop = async (): Promise<void> => {
    const current = running;
    if (!current) return;
    current.controller.abort();
    await current.done;
    forget();
    running = undefined;
  };

  return {
    tick,
    stop,
    async start() {
      if (running) return;
      await runtime.ready();
      const controller = new AbortController();
      running ??= { controller, done: loop(controller.signal) };
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
