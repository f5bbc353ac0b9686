// The handle that the client gives: one task's verbs over the client's components.
import type { EnqueueReceipt, StoredResult } from "./contracts/index.ts";
import type { CancelState, TaskHandle, TaskOutcome, TaskStatus } from "./handle.ts";
import type { TaskAdministration } from "./administration.ts";
import type { TaskEvent } from "./events.ts";
import { checkSignal, refuseUnknown } from "./option-checks.ts";
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
    cancelOne(id: string): Promise<CancelState>;
    readonly retries: number;
  };
  events(id: string, signal: AbortSignal | undefined): AsyncIterable<TaskEvent>;
}

/**
 * Within this time of an enqueue nobody has retried a dead letter by hand, so that the first run is the current one.
 */
const freshMs = 1_000;

/** A handle on a task; `receipt` is what the enqueue that has just made it said. */
export function makeHandle(
  context: HandleContext,
  id: string,
  receipt: EnqueueReceipt["state"] | undefined,
): TaskHandle<unknown> {
  return new Handle(context, id, receipt, receipt === "enqueued" ? performance.now() + freshMs : 0);
}

/** A class, since one is made for each task, and most are never asked anything. */
class Handle implements TaskHandle<unknown> {
  readonly id: string;
  readonly receipt: EnqueueReceipt["state"] | undefined;
  readonly #context: HandleContext;
  readonly #retries: number;
  #freshUntil: number;

  constructor(context: HandleContext, id: string, receipt: EnqueueReceipt["state"] | undefined, freshUntil: number) {
    this.id = id;
    this.receipt = receipt;
    this.#context = context;
    this.#retries = context.tasks.retries;
    this.#freshUntil = freshUntil;
  }

  get deduplicated(): boolean {
    return this.receipt !== undefined && this.receipt !== "enqueued";
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
    return await this.#context.tasks.cancelOne(this.id);
  }

  events(options: { readonly signal?: AbortSignal | undefined } = {}): AsyncIterable<TaskEvent> {
    refuseUnknown(options, ["signal"], "The options of events");
    checkSignal(options.signal);
    return this.#context.events(this.id, options.signal);
  }
}
