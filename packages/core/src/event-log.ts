// The events of a client's event storage, as users query and follow them.
import { paginated, type Paginated } from "./administration.ts";
import type { EventFilter, EventStorage, TaskEventType } from "./contracts/index.ts";
import { OmniQError } from "./errors.ts";
import { taskEvent, type TaskEvent } from "./events.ts";
import { checkInteger, checkKey, describeType } from "./limits.ts";
import { checkSignal, checkWords, refuseUnknown } from "./option-checks.ts";
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
const eventTypes: readonly TaskEventType[] = [
  ...(["enqueued", "started", "progress", "log", "retrying", "released"] as const),
  ...(["completed", "failed", "cancelled", "expired"] as const),
];
const endings: ReadonlySet<TaskEventType> = new Set(["completed", "failed", "cancelled", "expired"]);
/** How often it is looked whether a task that is followed is still there. */
const watchEveryMs = 2_000;

function checkFilter({ taskId, types, queue, from, to }: EventFilter): void {
  if (taskId !== undefined) checkKey("taskId of the filter", taskId);
  if (queue !== undefined) checkKey("queue of the filter", queue);
  if (types !== undefined) checkWords("types of the filter", types, eventTypes);
  if (from !== undefined) checkInteger("from of the filter", from, 0);
  if (to !== undefined) checkInteger("to of the filter", to, 0);
}

/** The events of one client. */
export class EventLog implements Events {
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  query(filter: EventFilter = {}): Paginated<TaskEvent> {
    refuseUnknown(filter, filterKeys, "The filter");
    checkFilter(filter);
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
    checkFilter(filter);
    checkSignal(signal);
    if (typeof after !== "string")
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `after must be a cursor, "start" or "now", not ${describeType(after)}`,
      );
    return this.#follow(this.#storage(), filter, after, signal);
  }

  /** All events of one task, until its latest run is over. */
  async *ofTask(taskId: string, signal: AbortSignal | undefined): AsyncIterable<TaskEvent> {
    checkKey("id", taskId);
    const storage = this.#storage();
    if (await this.#isOver(taskId, 0, signal)) {
      yield* this.query({ taskId });
      return;
    }
    // The tail ends a while after the task is over: one that was removed has no event that says so.
    const end = new AbortController();
    const watch = this.#watch(taskId, end, signal);
    try {
      const either = signal === undefined ? end.signal : AbortSignal.any([signal, end.signal]);
      for await (const event of this.#follow(storage, { taskId }, "start", either)) {
        yield event;
        // It may be the end of an earlier run: only one that is not live again has nothing more to tell.
        if (endings.has(event.type) && (await this.#isOver(taskId, event.run, signal))) return;
      }
    } finally {
      clearInterval(watch);
    }
  }

  /** Whether no run of the task that comes after this one is live. */
  async #isOver(taskId: string, run: number, signal: AbortSignal | undefined): Promise<boolean> {
    const [task] = await this.#runtime.taskQueue.get([taskId], { signal });
    if (task === undefined || (run > 0 && task.run <= run)) return true;
    return task.state === "failed" || task.state === "cancelled" || task.state === "expired";
  }

  #watch(taskId: string, end: AbortController, signal: AbortSignal | undefined): NodeJS.Timeout {
    let wasOver = false;
    const timer = setInterval(() => {
      if (signal?.aborted === true || this.#runtime.closed.aborted) {
        clearInterval(timer);
        return;
      }
      this.#isOver(taskId, 0, signal).then(
        (isOver) => {
          // Twice in a row: its last events may come a moment after it has left the queue.
          if (isOver && wasOver) end.abort();
          wasOver = isOver;
        },
        () => undefined,
      );
    }, watchEveryMs);
    // Whoever drops the iterator must not be kept alive by it.
    timer.unref();
    return timer;
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
