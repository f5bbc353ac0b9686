// The handle that the client gives: one task's verbs over the client's components.
import type { StoredResult } from "./contracts/index.ts";
import type { CancelState, TaskHandle, TaskOutcome, TaskStatus } from "./handle.ts";
import type { TaskAdministration } from "./administration.ts";
import type { TaskEvent } from "./events.ts";
import type { WaitOptions } from "./options.ts";
import type { ResultWaiter } from "./result-waiter.ts";
import type { Runtime } from "./runtime.ts";
import { outcomeOf, rejectionOf } from "./task-outcome.ts";

/** What handles share. */
export interface HandleContext {
  readonly runtime: Runtime;
  readonly waiter: ResultWaiter;
  readonly tasks: TaskAdministration & {
    status(id: string): Promise<TaskStatus | undefined>;
    readonly retries: number;
  };
  events(id: string, signal: AbortSignal | undefined): AsyncIterable<TaskEvent>;
}

/**
 * Within this time of an enqueue nobody has retried a dead letter by hand, so that the first run is the current one.
 */
const freshMs = 1_000;

/** A handle on a task; `enqueued` says that this client has just made it. */
export function makeHandle(
  context: HandleContext,
  id: string,
  deduplicated: boolean,
  enqueued: boolean,
): TaskHandle<unknown> {
  return new Handle(context, id, deduplicated, enqueued && !deduplicated ? performance.now() + freshMs : 0);
}

/** A class, since one is made for each task, and most are never asked anything. */
class Handle implements TaskHandle<unknown> {
  readonly id: string;
  readonly deduplicated: boolean;
  readonly #context: HandleContext;
  readonly #retries: number;
  #freshUntil: number;

  constructor(context: HandleContext, id: string, deduplicated: boolean, freshUntil: number) {
    this.id = id;
    this.deduplicated = deduplicated;
    this.#context = context;
    this.#retries = context.tasks.retries;
    this.#freshUntil = freshUntil;
  }

  async outcome(options: WaitOptions = {}): Promise<TaskOutcome<unknown>> {
    return outcomeOf(await this.#wait(options), this.#context.runtime.serializer);
  }

  async result(options: WaitOptions = {}): Promise<unknown> {
    const outcome = outcomeOf(await this.#wait(options), this.#context.runtime.serializer);
    if (outcome.status === "completed") return outcome.output;
    throw rejectionOf(outcome, this.id);
  }

  #wait(options: WaitOptions): Promise<StoredResult> {
    const { waiter, tasks } = this.#context;
    const fresh = performance.now() < this.#freshUntil && tasks.retries === this.#retries;
    this.#freshUntil = 0;
    return waiter.wait(this.id, options, fresh);
  }

  async status(): Promise<TaskStatus | undefined> {
    return await this.#context.tasks.status(this.id);
  }

  async cancel(): Promise<CancelState> {
    return (await this.#context.tasks.cancel([this.id]))[0] ?? "unknown";
  }

  events(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterable<TaskEvent> {
    return this.#context.events(this.id, options.signal);
  }
}
