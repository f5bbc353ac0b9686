// The event storage on SQLite: a table in append order. There is one writer at a time, so its numbers follow the commits.
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
import { appendEvents, isSoundEvent, toStoredEvent, type EventRow } from "./event-rows.ts";
import { listKey, readSequencePage, writeCursor } from "./pages.ts";
import type { Sql, SqlValue } from "./sql.ts";
import { Lifetime, type Store } from "./store.ts";

const tailPage = 500;
/** While nothing happens a tail looks again after this time all the same. */
const tailWaitMs = 60_000;
/** All events are one list to `tail`, whatever the filter. */
const tailKey = "e";

export class SqliteEventStorage implements EventStorage {
  readonly component = "event-storage" as const;
  readonly backend: object;
  readonly capabilities: EventStorageCapabilities;
  readonly #store: Store;
  readonly #life: Lifetime;

  constructor(backend: object, store: Store, capabilities: EventStorageCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#life = new Lifetime("event storage", onClose);
  }

  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write((tx) => appendEvents(tx, events), options.signal, this.#life.signal);
  }

  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    this.#life.check(options.signal);
    const key = listKey("q", filter);
    const { limit, after } = readSequencePage(key, page);
    return this.#store.read((sql) => {
      const rows = select(sql, filter, after, Number.MAX_SAFE_INTEGER, limit + 1);
      const items = rows.slice(0, limit);
      const last = items.at(-1);
      const shown = items
        .filter((row) => this.#isReadable(row))
        .map((row) => toStoredEvent(row, writeCursor(tailKey, String(row.seq))));
      return rows.length > limit && last !== undefined
        ? { items: shown, next: writeCursor(key, String(last.seq)) }
        : { items: shown };
    });
  }

  /** One that cannot be read is left out, and reported once. */
  #isReadable(row: EventRow): boolean {
    if (isSoundEvent(row)) return true;
    this.#store.damaged("event", typeof row.id === "string" ? row.id : `number ${row.seq}`);
    return false;
  }

  tail(filter: EventFilter, after: string | "start" | "now", options: CallOptions = {}): AsyncIterable<StoredEvent> {
    this.#life.check();
    const from = after === "start" || after === "now" ? after : readTailCursor(after);
    return this.#follow(filter, from, options.signal);
  }

  async *#follow(
    filter: EventFilter,
    from: number | "start" | "now",
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const ended = this.#life.signal;
    const over = (): boolean => ended.aborted || signal?.aborted === true;
    if (over()) return;
    let after = typeof from === "number" ? from : from === "start" ? 0 : await this.#store.read(lastNumber);
    while (!over()) {
      const listening = this.#store.wakeUp.listen("events", { waitMs: tailWaitMs, signals: [signal, ended] });
      try {
        const position = after;
        const { rows, last } = await this.#store.read((sql) => {
          // What does not match is passed over once: the last number is read first, and nothing behind it is looked at.
          const to = lastNumber(sql);
          return { rows: select(sql, filter, position, to, tailPage), last: to };
        });
        for (const row of rows) {
          if (over()) return;
          after = row.seq;
          if (!this.#isReadable(row)) continue;
          yield toStoredEvent(row, writeCursor(tailKey, String(row.seq)));
        }
        if (rows.length === tailPage) continue;
        after = Math.max(after, last);
        await listening.wait();
      } finally {
        listening.stop();
      }
    }
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    const ttlMs = this.#store.options.eventTtlMs;
    return this.#store.write(
      (tx) =>
        tx.sql.run(
          "DELETE FROM {p}_events WHERE seq IN (SELECT seq FROM {p}_events WHERE at <= ? LIMIT ?)",
          tx.now - ttlMs,
          limit,
        ),
      options.signal,
      this.#life.signal,
    );
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Of AUTOINCREMENT's own table, since the last event may have been swept. */
function lastNumber(sql: Sql): number {
  return sql.get<{ seq: number }>("SELECT seq FROM sqlite_sequence WHERE name = '{p}_events'")?.seq ?? 0;
}

function readTailCursor(cursor: string): number {
  const [key, position = "", ...rest] = typeof cursor === "string" ? cursor.split(".") : [];
  const seq = Number(Buffer.from(position, "base64url").toString());
  if (key !== tailKey || rest.length > 0 || position === "" || !Number.isSafeInteger(seq) || seq < 0) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      'The cursor is not an event\'s: give the `cursor` of a stored event, "start" or "now"',
    );
  }
  return seq;
}

function select(sql: Sql, filter: EventFilter, after: number, to: number, limit: number): EventRow[] {
  let where = "seq > ? AND seq <= ?";
  const values: SqlValue[] = [after, to];
  const add = (condition: string, value: SqlValue | undefined): void => {
    if (value === undefined) return;
    where += ` AND ${condition}`;
    values.push(value);
  };
  add("task_id = ?", filter.taskId);
  add("queue = ?", filter.queue);
  add("at >= ?", filter.from);
  add("at < ?", filter.to);
  if (filter.types !== undefined) {
    where += ` AND type IN (${filter.types.map(() => "?").join(", ")})`;
    values.push(...filter.types);
  }
  return sql.all<EventRow>(`SELECT * FROM {p}_events WHERE ${where} ORDER BY seq LIMIT ?`, ...values, limit);
}
