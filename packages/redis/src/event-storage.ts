// The event storage on Redis: a stream, whose order is that of the commits; each tail reads it on a connection of its own.
import type { Redis } from "ioredis";
import {
  isOmniQError,
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
import { byBytes } from "./by-bytes.ts";
import { eventIdIn, readEvent, writeEvent } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { DamageReports } from "./damage-reports.ts";
import { Lifetime } from "./lifetime.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";

const readSize = 500;
/** How long one blocking read of a tail takes at most. */
const blockMs = 5_000;
const silenceMs = 5_000;
/** All events are one list to `tail`, whatever the filter. */
const tailKey = "e";
const streamId = /^\d+-\d+$/;

type Entry = readonly [id: string, fields: readonly string[]];

export class RedisEventStorage implements EventStorage {
  readonly component = "event-storage" as const;
  readonly backend: object;
  readonly capabilities: EventStorageCapabilities;
  readonly #connection: Connection;
  readonly #damage: DamageReports;
  readonly #life: Lifetime;

  constructor(
    backend: object,
    connection: Connection,
    damage: DamageReports,
    capabilities: EventStorageCapabilities,
    onClose: () => Promise<void>,
  ) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#connection = connection;
    this.#damage = damage;
    this.#life = new Lifetime("event storage", onClose);
  }

  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    if (events.length === 0) return;
    for (const run of byBytes(events, ({ data }) => data?.length ?? 0, "An event")) {
      const args: (string | number)[] = [run.length];
      for (const event of run) for (const part of writeEvent(event)) args.push(part);
      await this.#connection.write("appendEvents", args);
    }
  }

  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    this.#life.check(options.signal);
    const key = listKey("q", filter);
    const { limit, after: position } = readPage(key, page);
    if (position !== undefined && !streamId.test(position))
      throw new OmniQError("OMNIQ_INVALID_OPTION", "The cursor is damaged: give a page's `next` as it was");
    const items: StoredEvent[] = [];
    const places: string[] = [];
    let after = position ?? "0-0";
    while (items.length <= limit) {
      options.signal?.throwIfAborted();
      const entries = await this.#read(filter.taskId, after);
      for (const entry of entries) {
        const event = this.#readEntry(entry);
        after = entry[0];
        if (event === undefined || !matches(event, filter)) continue;
        items.push(event);
        places.push(entry[0]);
        if (items.length > limit) break;
      }
      if (entries.length < readSize) break;
    }
    if (items.length <= limit) return { items };
    return { items: items.slice(0, limit), next: writeCursor(key, places[limit - 1] as string) };
  }

  tail(filter: EventFilter, after: string | "start" | "now", options: CallOptions = {}): AsyncIterable<StoredEvent> {
    this.#life.check();
    const from = after === "start" ? "0-0" : after === "now" ? undefined : readTailCursor(after);
    return this.#follow(filter, from, options.signal);
  }

  async *#follow(
    filter: EventFilter,
    from: string | undefined,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const ended = this.#life.signal;
    const over = (): boolean => ended.aborted || signal?.aborted === true;
    if (over()) return;
    const key = this.#connection.key("ev");
    await this.#connection.open();
    const link = this.#connection.another();
    const stop = (): void => this.#connection.drop(link);
    signal?.addEventListener("abort", stop, { once: true });
    ended.addEventListener("abort", stop, { once: true });
    let after = from;
    try {
      while (!over()) {
        let entries: readonly Entry[] = [];
        let timer: NodeJS.Timeout | undefined;
        try {
          if (after === undefined) {
            const last = await link.send((client) => (client as Redis).xrevrange(key, "+", "-", "COUNT", 1));
            after = last[0]?.[0] ?? "0-0";
          }
          const position = after;
          const found = await link.send((client) => {
            timer = setTimeout(() => link.reset(), blockMs + silenceMs);
            return (client as Redis).xread("COUNT", readSize, "BLOCK", blockMs, "STREAMS", key, position);
          });
          entries = (found?.[0]?.[1] ?? []) as readonly Entry[];
        } catch (error) {
          if (over()) return;
          if (!isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE")) throw error;
          // The cursor is good when the server is back.
          await new Promise((done) => setTimeout(done, 100));
        } finally {
          clearTimeout(timer);
        }
        for (const entry of entries) {
          if (over()) return;
          after = entry[0];
          const event = this.#readEntry(entry);
          if (event !== undefined && matches(event, filter)) yield event;
        }
      }
    } finally {
      signal?.removeEventListener("abort", stop);
      ended.removeEventListener("abort", stop);
      stop();
    }
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    return this.#connection.run<number>("sweepEvents", [limit, this.#connection.options.eventTtlMs]);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #readEntry([id, fields]: Entry): StoredEvent | undefined {
    const text = fields[1] ?? "";
    const event = readEvent(text, writeCursor(tailKey, id));
    if (event === undefined) this.#damage.tell("event", eventIdIn(text) || id);
    return event;
  }

  async #read(taskId: string | undefined, after: string): Promise<readonly Entry[]> {
    if (taskId !== undefined) return this.#connection.run<readonly Entry[]>("eventsOfTask", [taskId, after, readSize]);
    await this.#connection.open();
    const key = this.#connection.key("ev");
    return this.#connection
      .main()
      .send((client) => (client as Redis).xrange(key, `(${after}`, "+", "COUNT", readSize)) as Promise<
      readonly Entry[]
    >;
  }
}

function matches(event: StoredEvent, filter: EventFilter): boolean {
  const { taskId, types, queue, from, to } = filter;
  return (
    (taskId === undefined || event.taskId === taskId) &&
    (types === undefined || types.includes(event.type)) &&
    (queue === undefined || event.queue === queue) &&
    (from === undefined || event.at >= from) &&
    (to === undefined || event.at < to)
  );
}

function readTailCursor(cursor: string): string {
  const [key, position = "", ...rest] = typeof cursor === "string" ? cursor.split(".") : [];
  const id = Buffer.from(position, "base64url").toString();
  if (key !== tailKey || rest.length > 0 || !streamId.test(id)) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      'The cursor is not an event\'s: give the `cursor` of a stored event, "start" or "now"',
    );
  }
  return id;
}
