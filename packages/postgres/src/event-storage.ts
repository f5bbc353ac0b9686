// The event storage on PostgreSQL: a table in the order of transactions. A tail knows by snapshots what it has seen, so it misses nothing.
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
import { Columns } from "./columns.ts";
import type { Connection, Row } from "./connection.ts";
import { Damage } from "./damage.ts";
import { eventColumns, eventOrder, eventRowColumns, toStoredEvent } from "./event-rows.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";
import { Lifetime, type Store } from "./store.ts";

const tailPage = 500;
/** Characters of the events that go in one statement, unless one alone has more. */
const maxCharacters = 33_554_432;
/** While nothing happens a tail looks again after this time all the same. */
const tailWaitMs = 60_000;
/** All events are one list to `tail`, whatever the filter. */
const tailKey = "e";

/**
 * Where a reader stands: it has seen all events of transactions that `before` shows, and of those that `snapshot` shows those up to
 * (`txid`, `seq`). Writers may commit in any order: what `before` does not show is found by transaction id, not by number. Snapshots
 * are PostgreSQL's `pg_snapshot` as text. https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
 */
interface Position {
  readonly before: string;
  readonly snapshot: string;
  readonly txid: string;
  readonly seq: number;
}
const nothingSeen = "1:1:";

export class PostgresEventStorage implements EventStorage {
  readonly component = "event-storage" as const;
  readonly backend: object;
  readonly capabilities: EventStorageCapabilities;
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #life: Lifetime;
  readonly #damage: Damage;

  constructor(backend: object, store: Store, capabilities: EventStorageCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#connection = store.connection;
    this.#life = new Lifetime("event storage", onClose);
    this.#damage = new Damage(store.connection);
  }

  async append(events: readonly NewEvent[], options: CallOptions = {}): Promise<void> {
    return this.#life.run(options.signal, async () => {
      let from = 0;
      while (from < events.length) {
        let characters = 0;
        let to = from;
        do characters += events[to++]?.data?.length ?? 0;
        while (to < events.length && characters + (events[to]?.data?.length ?? 0) <= maxCharacters);
        const part = events.slice(from, to);
        const columns = new Columns();
        eventColumns(
          columns,
          part,
          part.map(() => 0),
        );
        const { list, values } = columns.build();
        await this.#connection.query(`SELECT {s}.append(${list})`, values);
        from = to;
      }
      this.#store.wakeUp.committed({ events: events.length > 0 });
    });
  }

  async query(filter: EventFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredEvent>> {
    const key = listKey("q", filter);
    const { limit, after } = readPage(key, page);
    const [txid = "0", seq = "0"] = after?.split(":") ?? [];
    if (!/^\d{1,19}$/.test(txid) || !/^\d{1,19}$/.test(seq)) throw damaged();
    return this.#life.run(options.signal, async () => {
      const values: unknown[] = [txid, seq, limit + 1];
      const rows = await this.#connection.look(
        `SELECT ${eventRowColumns}, pg_current_snapshot()::text FROM {s}.events
         WHERE (txid, seq) > ($1::xid8, $2::bigint)${conditions(filter, values)} ORDER BY ${eventOrder} LIMIT $3`,
        values,
      );
      const items = rows
        .slice(0, limit)
        .flatMap((row) => this.#show(row, cursorAt(row, nothingSeen, row[11] as string)));
      const last = rows[limit - 1];
      return rows.length > limit && last !== undefined
        ? { items, next: writeCursor(key, `${last[0] as string}:${last[1] as number}`) }
        : { items };
    });
  }

  tail(filter: EventFilter, after: string | "start" | "now", options: CallOptions = {}): AsyncIterable<StoredEvent> {
    this.#life.check();
    const from = after === "start" || after === "now" ? after : readCursor(after);
    return this.#follow(filter, from, options.signal);
  }

  async *#follow(
    filter: EventFilter,
    from: Position | "start" | "now",
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StoredEvent, void, undefined> {
    const ended = this.#life.signal;
    const over = (): boolean => ended.aborted || signal?.aborted === true;
    if (over()) return;
    let at: Position =
      typeof from === "string" ? { before: nothingSeen, snapshot: nothingSeen, txid: "0", seq: 0 } : from;
    if (from === "now") {
      const snapshot = await this.#ask(
        async () => (await this.#connection.look("SELECT pg_current_snapshot()::text"))[0]?.[0] as string,
      );
      at = { before: snapshot, snapshot, txid: "0", seq: 0 };
    }
    while (!over()) {
      const listening = this.#store.wakeUp.listen("events", undefined, [signal, ended]);
      try {
        const { rows, snapshot } = await this.#ask(() => this.#read(filter, at));
        const { before } = at;
        for (const row of rows) {
          if (over()) return;
          at = { before, snapshot, txid: row[0] as string, seq: row[1] as number };
          yield* this.#show(row, cursorAt(row, before, snapshot));
        }
        if (rows.length === tailPage) continue;
        // The whole of this snapshot is seen.
        at = { before: snapshot, snapshot, txid: "0", seq: 0 };
        await listening.wait(tailWaitMs);
      } finally {
        listening.stop();
      }
    }
  }

  /** A damaged one is left out. */
  #show(row: Row, cursor: string): readonly StoredEvent[] {
    const event = toStoredEvent(row, cursor);
    if (event !== undefined) return [event];
    this.#damage.report("event", row[2] as string);
    return [];
  }

  #ask<T>(work: () => Promise<T>): Promise<T> {
    return this.#life.run(undefined, work);
  }

  /**
   * The next page. Events of a half-read snapshot first; they are those that `before` does not show and `snapshot` does. What neither
   * shows comes after them, so that a position stays a pair of snapshots and a number.
   */
  async #read(
    filter: EventFilter,
    at: Position,
  ): Promise<{ readonly rows: readonly Row[]; readonly snapshot: string }> {
    if (at.snapshot !== at.before) {
      const values: unknown[] = [at.before, at.snapshot, at.txid, at.seq, tailPage];
      const rows = await this.#connection.look(
        `SELECT ${eventRowColumns} FROM {s}.events
         WHERE (txid, seq) > ($3::xid8, $4::bigint) AND txid >= pg_snapshot_xmin($1::pg_snapshot) AND txid < pg_snapshot_xmax($2::pg_snapshot)
           AND pg_visible_in_snapshot(txid, $2::pg_snapshot) AND NOT pg_visible_in_snapshot(txid, $1::pg_snapshot)${conditions(filter, values)}
         ORDER BY ${eventOrder} LIMIT $5`,
        values,
      );
      if (rows.length > 0) return { rows, snapshot: at.snapshot };
      return this.#read(filter, { before: at.snapshot, snapshot: at.snapshot, txid: "0", seq: 0 });
    }
    const values: unknown[] = [at.before, tailPage];
    const found = await this.#connection.look(
      `SELECT s.snapshot, e.* FROM (SELECT pg_current_snapshot()::text AS snapshot) s LEFT JOIN LATERAL (
         SELECT ${eventRowColumns} FROM {s}.events
         WHERE txid >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(txid, $1::pg_snapshot)${conditions(filter, values)}
         ORDER BY ${eventOrder} LIMIT $2) e ON true`,
      values,
    );
    const rows = found.filter((row) => row[1] !== null).map((row) => row.slice(1));
    return { rows, snapshot: found[0]?.[0] as string };
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    return this.#life.run(options.signal, async () => {
      const [row] = await this.#connection.look(
        `WITH gone AS (DELETE FROM {s}.events WHERE id = ANY (ARRAY(SELECT id FROM {s}.events WHERE at <= (SELECT {s}.now_ms() - $2::bigint)
           ORDER BY at LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING 1) SELECT count(*) FROM gone`,
        [limit, this.#store.options.eventTtlMs],
      );
      return row?.[0] as number;
    });
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function cursorAt(row: Row, before: string, snapshot: string): string {
  return writeCursor(tailKey, JSON.stringify([before, snapshot, row[0], row[1]]));
}

function damaged(): OmniQError {
  return new OmniQError(
    "OMNIQ_INVALID_OPTION",
    'The cursor is not an event\'s: give the `cursor` of a stored event, "start" or "now"',
  );
}

function readCursor(cursor: string): Position {
  const [key, position = "", ...rest] = typeof cursor === "string" ? cursor.split(".") : [];
  if (key !== tailKey || rest.length > 0) throw damaged();
  let parts: unknown;
  try {
    parts = JSON.parse(Buffer.from(position, "base64url").toString());
  } catch {
    throw damaged();
  }
  const [before, snapshot, txid, seq] = Array.isArray(parts) ? (parts as unknown[]) : [];
  const shape = /^\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?$/;
  if (typeof before !== "string" || typeof snapshot !== "string" || !shape.test(before) || !shape.test(snapshot))
    throw damaged();
  if (typeof txid !== "string" || !/^\d{1,19}$/.test(txid) || typeof seq !== "number" || !Number.isSafeInteger(seq))
    throw damaged();
  return { before, snapshot, txid, seq };
}

/** Conditions of a filter, whose values are added. */
function conditions(filter: EventFilter, values: unknown[]): string {
  let text = "";
  if (filter.taskId !== undefined) text += ` AND task_id = $${values.push(filter.taskId)}`;
  if (filter.queue !== undefined) text += ` AND queue = $${values.push(filter.queue)}`;
  if (filter.from !== undefined) text += ` AND at >= $${values.push(Math.ceil(filter.from))}`;
  if (filter.to !== undefined) text += ` AND at < $${values.push(Math.ceil(filter.to))}`;
  if (filter.types !== undefined) {
    const places = filter.types.map((type) => `$${values.push(type)}`);
    text += places.length === 0 ? " AND false" : ` AND type IN (${places.join(", ")})`;
  }
  return text;
}
