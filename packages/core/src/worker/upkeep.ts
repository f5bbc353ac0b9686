// Upkeep that any worker does beside its tasks: sweeps, outcomes that queues decided, schedules.
import { isOmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import { tickerOf } from "../schedule-ticker.ts";
import { recordOutcomes } from "../unrecorded.ts";

const sweepLimit = 1_000;
const everyMs = 1_000;
const sweepEvery = 5;

/** Upkeep of one worker; at most one round at a time, and no round ever rejects. */
export class Upkeep {
  readonly #runtime: Runtime;
  #timer: NodeJS.Timeout | undefined;
  #round = 0;
  #running: Promise<number> | undefined;
  #stopped = false;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }
  start(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    // Schedules come when they are due, not in rounds.
    tickerOf(this.#runtime).start();
    // The first pause is random, so that workers that start together part.
    this.#timer = setTimeout(() => void this.#tick(), Math.random() * everyMs);
  }
  async stop(): Promise<void> {
    if (this.#timer !== undefined && !this.#stopped) void tickerOf(this.#runtime).stop();
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }
  async #tick(): Promise<void> {
    this.#round += 1;
    await this.once(this.#round % sweepEvery === 1);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#tick(), everyMs * (0.75 + Math.random() / 2));
  }
  /** One round; with `sweep` the expired things too. Says how many things it changed. */
  once(sweep: boolean): Promise<number> {
    this.#running ??= this.#work(sweep).finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }
  async #work(sweep: boolean): Promise<number> {
    const runtime = this.#runtime;
    let changed = 0;
    const step = async (what: string, work: () => Promise<number>): Promise<void> => {
      if (runtime.closed.aborted) return;
      try {
        changed += await work();
      } catch (error) {
        if (!isOmniQError(error, "OMNIQ_CLOSED"))
          runtime.logger.warn(`Upkeep failed (${what}); it is tried again`, { error });
      }
    };
    if (sweep) await step("task queue", () => runtime.taskQueue.sweep(sweepLimit));
    await step("outcomes", () => recordOutcomes(runtime, sweepLimit));
    // Once it is started, they come by themselves.
    if (runtime.scheduleStorage !== undefined && this.#timer === undefined)
      await step("schedules", () => tickerOf(runtime).tick());
    const { resultStorage, eventStorage } = runtime;
    // What only frees space does not count as work: nothing becomes ready by it.
    const before = changed;
    if (sweep && resultStorage !== undefined) await step("results", () => resultStorage.sweep(sweepLimit));
    if (sweep && eventStorage !== undefined) await step("events", () => eventStorage.sweep(sweepLimit));
    return before;
  }
}
