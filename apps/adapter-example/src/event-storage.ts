// The event storage contract over the file: append, query, tail, sweep.
import { createHash } from "node:crypto";
import {
  OmniQError,
  type CallOptions,
  type EventFilter,
  type EventStorage,
  type EventStorageCapabilities,
  type NewEvent,
  type Page,
  type PageRequest,
  type StoredEvent,
} from "@omniq/core";
import type { EventFile } from "./event-file.ts";
import type { Numbered } from "./event-line.ts";

const weekMs = 604_800_000;

export class JsonlEventStorage implements EventStorage {
  readonly component = "event-storage";
  readonly backend: object;
  /** `reach` is the process: two processes would number their lines alike. */
  readonly capabilities: EventStorageCapabilities = {
    durable: true,
    push: true,
    reach: "process",
    maxDataBytes: 1_048_576,
    maxBatch: 1_000,
  };
  readonly #file: EventFile;
  readonly #eventTtlMs: number;
  readonly #closed = new AbortController();

  constructor(backend: object, file: EventFile, eventTtlMs: number = weekMs) {
    this.backend = backend;
    this.#file = file;
    this.#eventTtlMs = eventTtlMs;
  }

  /** `event-order`: the file's order is the order of the appends; known ids are left out. */
  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    this.#begin(options);
    await this.#file.append(events);
  }

  /** `event-query`: a page's cursor is its filter's key and the number of its last event, so what is appended later changes no page. */
  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    this.#begin(options);
    await this.#file.load();
    const key = filterKey(filter);
    const after = page.cursor === undefined ? 0 : parseCursor(page.cursor, key);
    const limit = page.limit ?? 100;
    const found: StoredEvent[] = [];
    for (const one of this.#file.events.slice(firstAfter(this.#file.events, after))) {
      if (!matches(filter, one.event)) continue;
      // One more than asked for says that a next page is there.
      if (found.length === limit) return { items: found, next: key + found.at(-1)!.cursor };
      found.push(stored(one));
    }
    return { items: found };
  }

  /** `event-tail`: reads on from a number; looks again after each append. */
  async *tail(
    filter: EventFilter,
    after: string | "start" | "now",
    options: CallOptions = {},
  ): AsyncGenerator<StoredEvent> {
    this.#begin({});
    const end =
      options.signal === undefined ? this.#closed.signal : AbortSignal.any([options.signal, this.#closed.signal]);
    if (end.aborted) return;
    await this.#file.load();
    const { events } = this.#file;
    let last = after === "start" ? 0 : after === "now" ? (events.at(-1)?.sequence ?? 0) : parseCursor(after);
    let wake = (): void => undefined;
    const unwatch = this.#file.watch(() => wake());
    const onEnd = (): void => wake();
    end.addEventListener("abort", onEnd);
    try {
      while (!end.aborted) {
        const one = events[firstAfter(events, last)];
        if (one === undefined) {
          // Nothing runs between the look above and this line, so no append is missed.
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        last = one.sequence;
        if (matches(filter, one.event)) yield stored(one);
      }
    } finally {
      unwatch();
      end.removeEventListener("abort", onEnd);
    }
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#begin(options);
    return this.#file.removeBefore(Date.now() - this.#eventTtlMs, limit);
  }

  /** `close`: idempotent; ends tails. */
  async close(): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    await this.#file.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #begin(options: CallOptions): void {
    if (this.#closed.signal.aborted)
      throw new OmniQError("OMNIQ_CLOSED", "jsonl: the event storage is closed; open another one");
    options.signal?.throwIfAborted();
  }
}

function stored({ sequence, event }: Numbered): StoredEvent {
  return { ...event, cursor: `${sequence}` };
}

/** What the cursors of a query begin with, so that one of another filter is refused. */
function filterKey(filter: EventFilter): string {
  const { taskId, types, queue, from, to } = filter;
  const text = JSON.stringify([taskId, types, queue, from, to]);
  return `${createHash("sha256").update(text).digest("base64url").slice(0, 8)}.`;
}

function parseCursor(cursor: string, key = ""): number {
  const digits = cursor.startsWith(key) ? cursor.slice(key.length) : "";
  if (!/^\d{1,15}$/.test(digits))
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      "jsonl: the cursor is none of this list; pass one that it gave, with the same filter",
    );
  return Number(digits);
}

/** The place of the first event with a higher number, by bisection. */
function firstAfter(events: readonly Numbered[], sequence: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle]!.sequence > sequence) high = middle;
    else low = middle + 1;
  }
  return low;
}

function matches(filter: EventFilter, event: NewEvent): boolean {
  return (
    (filter.taskId === undefined || event.taskId === filter.taskId) &&
    (filter.types === undefined || filter.types.includes(event.type)) &&
    (filter.queue === undefined || event.queue === filter.queue) &&
    (filter.from === undefined || event.at >= filter.from) &&
    (filter.to === undefined || event.at < filter.to)
  );
}
