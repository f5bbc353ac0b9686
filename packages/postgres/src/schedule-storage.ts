// The schedule storage on PostgreSQL: a table, changed by compare-and-set on a random revision.
import { randomBytes } from "node:crypto";
import type {
  CallOptions,
  ComponentCapabilities,
  NewSchedule,
  Page,
  PageRequest,
  ScheduleStorage,
  StoredSchedule,
} from "@omniq/core";
import { Columns } from "./columns.ts";
import type { Connection, Row } from "./connection.ts";
import { Damage, isTime, isWhole } from "./damage.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";
import { Lifetime, type Store } from "./store.ts";

const columns = "id, rule, template, next_at, runs, paused, revision";

export class PostgresScheduleStorage implements ScheduleStorage {
  readonly component = "schedule-storage" as const;
  readonly backend: object;
  readonly capabilities: ComponentCapabilities;
  readonly #connection: Connection;
  readonly #life: Lifetime;
  readonly #damage: Damage;

  constructor(backend: object, store: Store, capabilities: ComponentCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#connection = store.connection;
    this.#life = new Lifetime("schedule storage", onClose);
    this.#damage = new Damage(store.connection);
  }

  async put(
    schedule: NewSchedule,
    revision: string | null | undefined,
    options: CallOptions = {},
  ): Promise<StoredSchedule | undefined> {
    return this.#life.run(options.signal, async () => {
      const { id, rule, template, nextAt, runs, paused } = schedule;
      const next = newRevision();
      const [row] = await this.#connection.query("SELECT {s}.put_schedule($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
        id,
        rule,
        template,
        nextAt,
        runs,
        paused,
        next,
        revision === undefined,
        revision ?? null,
      ]);
      return row?.[0] === true ? { id, rule, template, nextAt, runs, paused, revision: next } : undefined;
    });
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredSchedule | undefined)[]> {
    return this.#life.run(options.signal, async () => {
      const { list, values } = new Columns().text(ids).build();
      const rows = await this.#connection.query(
        `SELECT ${columns} FROM {s}.schedules WHERE id = ANY (${list})`,
        values,
        { harmless: true },
      );
      const found = new Map(rows.map((row) => [row[0] as string, this.#read(row)]));
      return ids.map((id) => found.get(id));
    });
  }

  async list(page: PageRequest, options: CallOptions = {}): Promise<Page<StoredSchedule>> {
    const key = listKey("s", {});
    const { limit, after } = readPage(key, page);
    return this.#life.run(options.signal, async () => {
      // The column's collation is "C", the order of its UTF-8 bytes.
      const rows = await this.#connection.query(
        `SELECT ${columns} FROM {s}.schedules WHERE id > $1 ORDER BY id LIMIT $2`,
        [after ?? "", limit + 1],
        { harmless: true },
      );
      const items = rows.slice(0, limit).map((row) => this.#read(row));
      const last = items.at(-1);
      return rows.length > limit && last !== undefined ? { items, next: writeCursor(key, last.id) } : { items };
    });
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<readonly boolean[]> {
    return this.#life.run(options.signal, async () => {
      const { list, values } = new Columns().text(ids).build();
      const rows = await this.#connection.query(
        `DELETE FROM {s}.schedules WHERE id = ANY (${list}) RETURNING id`,
        values,
      );
      const gone = new Set(rows.map((row) => row[0] as string));
      // The same id twice was there only for the first.
      return ids.map((id) => gone.delete(id));
    });
  }

  async due(
    limit: number,
    options: CallOptions = {},
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }> {
    return this.#life.run(options.signal, async () => {
      const rows = await this.#connection.query(
        `WITH n AS MATERIALIZED (SELECT {s}.now_ms() AS now)
         SELECT n.now, d.* FROM n LEFT JOIN LATERAL (SELECT ${columns} FROM {s}.schedules
           WHERE NOT paused AND next_at IS NOT NULL AND next_at BETWEEN 0 AND n.now AND runs BETWEEN 0 AND 9007199254740991 ORDER BY next_at, id LIMIT $1) d ON true ORDER BY d.next_at, d.id`,
        [limit],
        { harmless: true },
      );
      const schedules = rows.filter((row) => row[1] !== null).map((row) => this.#read(row.slice(1)));
      return { now: rows[0]?.[0] as number, schedules };
    });
  }

  async advance(
    id: string,
    revision: string,
    next: { readonly nextAt: number | null; readonly runs: number },
    options: CallOptions = {},
  ): Promise<boolean> {
    return this.#life.run(options.signal, async () => {
      const rows = await this.#connection.query(
        "UPDATE {s}.schedules SET next_at = $3, runs = $4, revision = $5 WHERE id = $1 AND revision = $2 RETURNING true",
        [id, revision, next.nextAt, next.runs, newRevision()],
      );
      return rows.length > 0;
    });
  }

  /** A damaged one is paused, so that nobody computes with what it says. */
  #read(row: Row): StoredSchedule {
    const [id, rule, template, nextAt, runs, paused, revision] = row;
    const sane = isWhole(runs) && (nextAt === null || isTime(nextAt));
    if (sane) return { id, rule, template, nextAt, runs, paused, revision };
    this.#damage.report("schedule", id as string);
    return { id, rule, template, nextAt: null, runs: isWhole(runs) ? runs : 0, paused: true, revision };
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Random, so that a schedule that was deleted and made anew never has an old one's revision. */
function newRevision(): string {
  return randomBytes(9).toString("base64url");
}
