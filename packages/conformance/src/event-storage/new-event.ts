// Events for the cases, and the reading of whole queries and of tails.
import type { EventFilter, EventStorage, NewEvent, StoredEvent } from "@omniq/core";
import { within } from "../conduct/waiting.ts";

/** A `log` event of task `t` at the given time; the id is the caller's. */
export function newEvent(id: string, given: Partial<NewEvent> = {}): NewEvent {
  return { id, at: Date.now(), type: "log", taskId: "t", taskName: "n", queue: "q", run: 1, attempt: 1, ...given };
}

/** All pages of a query, in order. */
export async function queryAll(storage: EventStorage, filter: EventFilter, limit: number): Promise<StoredEvent[]> {
  const items: StoredEvent[] = [];
  let cursor: string | undefined;
  do {
    const page = await storage.query(filter, { limit, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}

export function eventIds(events: readonly NewEvent[]): string[] {
  return events.map((event) => event.id);
}

/** A tail that is read step by step and let go at the end. */
export class Tail implements AsyncDisposable {
  readonly #iterator: AsyncIterator<StoredEvent>;
  readonly #stop = new AbortController();

  constructor(storage: EventStorage, filter: EventFilter, after: string | "start" | "now") {
    this.#iterator = storage.tail(filter, after, { signal: this.#stop.signal })[Symbol.asyncIterator]();
  }

  /** The next event, or `undefined` at the end. */
  async next(what = "the next event"): Promise<StoredEvent | undefined> {
    const step = await within(this.#iterator.next(), what);
    return step.done === true ? undefined : step.value;
  }

  /** The next `count` events. */
  async take(count: number): Promise<StoredEvent[]> {
    const taken: StoredEvent[] = [];
    while (taken.length < count) {
      const event = await this.next(`event ${taken.length + 1} of ${count}`);
      if (event === undefined) break;
      taken.push(event);
    }
    return taken;
  }

  abort(reason?: unknown): void {
    this.#stop.abort(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.abort();
    await this.#iterator.return?.().then(undefined, () => undefined);
  }
}
