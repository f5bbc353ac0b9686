// The handle that the client gives: one task's verbs over the client's components.
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
  let freshUntil = enqueued && !deduplicated ? performance.now() + freshMs : 0;
  const retries = context.tasks.retries;
  const wait = async (options: WaitOptions = {}): Promise<TaskOutcome<unknown>> => {
    const fresh = performance.now() < freshUntil && context.tasks.retries === retries;
    freshUntil = 0;
    return outcomeOf(await context.waiter.wait(id, options, fresh), context.runtime.serializer);
  };
  return {
    id,
    deduplicated,
    outcome: wait,
    async result(options?: WaitOptions): Promise<unknown> {
      const outcome = await wait(options);
      if (outcome.status === "completed") return outcome.output;
      throw rejectionOf(outcome, id);
    },
    status: async (): Promise<TaskStatus | undefined> => await context.tasks.status(id),
    cancel: async (): Promise<CancelState> => (await context.tasks.cancel([id]))[0] ?? "unknown",
    events: (options = {}) => context.events(id, options.signal),
  };
}
