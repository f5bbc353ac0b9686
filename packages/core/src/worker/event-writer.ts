// Appends what happens while tasks run (started, progress, log) in natural batches, apart from the settlements.
import type { EventStorage, NewEvent } from "../contracts/index.ts";
import { isOmniQError } from "../errors.ts";
import type { Logger } from "../task-definition.ts";
import { fitting, lengthOfEvents } from "./ending.ts";
import type { Execution } from "./execution.ts";
import { sleep } from "./sleep.ts";

/** Kept while an event storage is away; beyond it the oldest are given up, with a warning. */
const maxKept = 100_000;

/** Batches events. What is added while an append is under way rides in the next. */
export class EventWriter {
  readonly #storage: EventStorage;
  readonly #logger: Logger;
  readonly #dirty = new Set<Execution>();
  #loose: NewEvent[] = [];
  #running: Promise<void> | undefined;
  #closed = false;
  readonly #closing = new AbortController();

  constructor(storage: EventStorage, logger: Logger) {
    this.#storage = storage;
    this.#logger = logger;
  }

  /** An event of a task that is held. Until it is sent, the settlement may take it along. */
  add(execution: Execution, event: NewEvent): void {
    (execution.events ??= []).push(event);
    this.#dirty.add(execution);
    this.#start();
  }
  /** Events of tasks that are over. */
  addAll(events: readonly NewEvent[]): void {
    if (events.length === 0) return;
    for (const event of events) this.#loose.push(event);
    if (this.#loose.length > maxKept) {
      const given = this.#loose.splice(0, this.#loose.length - maxKept).length;
      this.#logger.warn("Events were given up: the event storage does not take them", { events: given });
    }
    this.#start();
  }
  /** The unsent events of a task, for its settlement. */
  take(execution: Execution): NewEvent[] {
    const events = execution.events ?? [];
    execution.events = undefined;
    this.#dirty.delete(execution);
    return events;
  }
  /** Resolves when all that was added is appended, or `waitMs` has passed. */
  async flush(waitMs: number): Promise<void> {
    const end = performance.now() + waitMs;
    while ((this.#dirty.size > 0 || this.#loose.length > 0 || this.#running !== undefined) && performance.now() < end) {
      this.#start();
      await Promise.race([this.#running, sleep(Math.min(100, Math.max(1, end - performance.now())))]);
    }
  }
  close(): void {
    this.#closed = true;
    this.#closing.abort();
  }

  #start(): void {
    if (this.#running !== undefined || this.#closed) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#dirty.size > 0 || this.#loose.length > 0) this.#start();
    });
  }
  async #run(): Promise<void> {
    // A short task's events then ride on its settlement in place of a call of their own.
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    const executions = [...this.#dirty];
    this.#dirty.clear();
    const events = this.#loose;
    this.#loose = [];
    for (const execution of executions) {
      // A handler may log without end in one turn: as arguments of one call they would be too many.
      for (const event of execution.events ?? []) events.push(event);
      execution.events = undefined;
    }
    if (events.length === 0) return;
    const appended = this.append(events);
    for (const execution of executions) execution.appending = appended;
    await appended;
    for (const execution of executions) if (execution.appending === appended) execution.appending = undefined;
  }
  /** Appends at once, in calls of bounded size. What the storage does not take is given up, with a warning; never rejects. */
  async append(events: readonly NewEvent[]): Promise<void> {
    const { maxBatch } = this.#storage.capabilities;
    for (let start = 0; start < events.length;) {
      const part = events.slice(start, start + fitting(events, start, maxBatch, (event) => lengthOfEvents([event])));
      start += part.length;
      for (let failures = 0; ; failures += 1) {
        try {
          await this.#storage.append(part);
          break;
        } catch (error) {
          if (this.#closed || !isOmniQError(error) || !error.retryable || failures >= 30) {
            this.#logger.warn("Events could not be appended", { events: part.length, error });
            break;
          }
          await sleep(Math.min(5_000, 50 * 2 ** failures) * (0.5 + Math.random()), this.#closing.signal);
        }
      }
    }
  }
}
