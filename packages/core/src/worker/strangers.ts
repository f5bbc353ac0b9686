// Tasks whose names a worker does not know: how long each rests before it comes again, and that somebody is told.
import type { Logger } from "../task-definition.ts";

const firstMs = 1_000;
const longestMs = 60_000;
const tellEveryMs = 60_000;
/** So many tasks are remembered at a time; where more come within {@link renewMs}, those rest for the longest time. */
const maxRemembered = 50_000;
/** A task that has not come for one to two of these is forgotten. */
const renewMs = 120_000;
const maxNames = 1_000;

export class Strangers {
  readonly #logger: Logger;
  #rests = new Map<string, number>();
  #earlier = new Map<string, number>();
  #renewedAt = performance.now();
  readonly #told = new Map<string, number>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The pause in milliseconds before this task should come again: doubled each time, and random, so that workers take turns. */
  rest(taskId: string, name: string, queue: string): number {
    this.#tell(name, queue);
    if (performance.now() - this.#renewedAt >= renewMs) {
      this.#earlier = this.#rests;
      this.#rests = new Map();
      this.#renewedAt = performance.now();
    }
    const before = this.#rests.get(taskId) ?? this.#earlier.get(taskId);
    const full = before === undefined && this.#rests.size >= maxRemembered;
    const restMs = full ? longestMs : Math.min(before === undefined ? firstMs : before * 2, longestMs);
    if (!full) this.#rests.set(taskId, restMs);
    return Math.round(restMs * (0.8 + 0.4 * Math.random()));
  }

  #tell(name: string, queue: string): void {
    const now = performance.now();
    const last = this.#told.get(name);
    if (last !== undefined && now - last < tellEveryMs) return;
    // Those that were here a while ago are forgotten now and then; what still comes is remembered anew.
    if (this.#told.size >= maxNames) this.#told.clear();
    this.#told.set(name, now);
    this.#logger.warn(
      "This worker does not know a task's name; such tasks go back to the queue, for a worker that does. Give it the task, or let it drain other queues",
      { taskName: name, queue },
    );
  }
}
