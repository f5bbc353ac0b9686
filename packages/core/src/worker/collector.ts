// Collects the tasks of a batch handler until there are enough, or the first has waited long enough.
import type { Execution } from "./execution.ts";
import type { Workable } from "./registry.ts";

/** Tasks of one definition that wait for their batch. */
export class Collector {
  readonly definition: Workable;
  readonly maxSize: number;
  readonly #maxWaitMs: number;
  readonly #ready: () => void;
  #executions: Execution[] = [];
  #due = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(definition: Workable, ready: () => void) {
    if (definition.handler.kind !== "batch") throw new TypeError("not a batch handler");
    this.definition = definition;
    this.maxSize = definition.handler.options.maxSize;
    this.#maxWaitMs = definition.handler.options.maxWaitMs ?? 0;
    this.#ready = ready;
  }
  add(execution: Execution): void {
    this.#executions.push(execution);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#due = true;
      this.#ready();
    }, this.#maxWaitMs);
  }
  get ready(): boolean {
    return this.#executions.length >= this.maxSize || (this.#due && this.#executions.length > 0);
  }
  /** Takes one batch. */
  take(): readonly Execution[] {
    const batch = this.#executions.splice(0, this.maxSize);
    if (this.#executions.length === 0) {
      this.#due = false;
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    return batch;
  }
  /** Takes all that wait. */
  empty(): readonly Execution[] {
    const all = this.#executions;
    this.#executions = [];
    this.take();
    return all;
  }
}
