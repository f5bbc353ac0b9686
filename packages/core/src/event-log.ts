// The events of a client's event storage, as users query and follow them.
import { paginated, type Paginated } from "./administration.ts";
import type { EventFilter, EventStorage } from "./contracts/index.ts";
import { OmniQError } from "./errors.ts";
import { taskEvent, type TaskEvent } from "./events.ts";
import { checkKey } from "./limits.ts";
import { refuseUnknown } from "./option-checks.ts";
import type { Runtime } from "./runtime.ts";

/** How to follow events. */
export type TailOptions = EventFilter & {
  /** After the cursor of an event, from the `start` of what is kept, or from `now` (default). */
  readonly after?: string | undefined;
  readonly signal?: AbortSignal | undefined;
};

/** The events of all tasks. Without an event storage every verb fails with `OMNIQ_UNSUPPORTED`. */
export interface Events {
  /** In the order in which they were appended. */
  query(filter?: EventFilter): Paginated<TaskEvent>;
  /** Live, each once. Ends when aborted or when the client closes. */
  tail(options?: TailOptions): AsyncIterable<TaskEvent>;
}

const filterKeys = ["taskId", "types", "queue", "from", "to"];

/** The events of one client. */
export class EventLog implements Events {
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  query(filter: EventFilter = {}): Paginated<TaskEvent> {
    refuseUnknown(filter, filterKeys, "The filter");
    const storage = this.#storage();
    return paginated(async (request) => {
      const { items, next } = await storage.query(filter, request);
      const events = items.map((event) => taskEvent(event, this.#runtime.serializer));
      return next === undefined ? { items: events } : { items: events, next };
    });
  }

  tail(options: TailOptions = {}): AsyncIterable<TaskEvent> {
    refuseUnknown(options, [...filterKeys, "after", "signal"], "The options of tail");
    const { after = "now", signal, ...filter } = options as TailOptions;
    return this.#follow(this.#storage(), filter, after, signal);
  }

  /** All events of one task, until its latest run is over. */
  async *ofTask(taskId: string, signal: AbortSignal | undefined): AsyncIterable<TaskEvent> {
    checkKey("id", taskId);
    const storage = this.#storage();
    for await (const event of this.#follow(storage, { taskId }, "start", signal)) {
      yield event;
      if (
        event.type !== "completed" &&
        event.type !== "failed" &&
        event.type !== "cancelled" &&
        event.type !== "expired"
      )
        continue;
      // It may be the end of an earlier run: only one that is not live again has nothing more to tell.
      const [task] = await this.#runtime.taskQueue.get([taskId], { signal });
      if (task === undefined || task.run <= event.run) return;
    }
  }

  async *#follow(
    storage: EventStorage,
    filter: EventFilter,
    after: string,
    signal: AbortSignal | undefined,
  ): AsyncIterable<TaskEvent> {
    const { closed, serializer } = this.#runtime;
    const either = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    try {
      for await (const event of storage.tail(filter, after, { signal: either })) yield taskEvent(event, serializer);
    } catch (error) {
      // Aborting is how a user ends it.
      if (!either.aborted) throw error;
    }
  }

  #storage(): EventStorage {
    const { eventStorage } = this.#runtime;
    if (eventStorage) return eventStorage;
    throw new OmniQError(
      "OMNIQ_UNSUPPORTED",
      "This client has no event storage, so events are not kept; give it one with `eventStorage`",
    );
  }
}
