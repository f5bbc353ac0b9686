// The schedule storage on SQLite: a table, changed by compare-and-set on a random revision.
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
import { holds, isSound, nullable, soundRow, text, time, whole, type Column } from "./columns.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";
import type { Sql } from "./sql.ts";
import { Lifetime, type Store } from "./store.ts";

interface ScheduleRow {
  readonly id: string;
  readonly rule: string;
  readonly template: string;
  readonly next_at: number | null;
  readonly runs: number;
  readonly paused: number;
  readonly revision: string;
}

const nextColumn = nullable(time("next_at"));
const scheduleColumns: readonly Column[] = [
  text("id"),
  text("rule"),
  text("template"),
  nextColumn,
  whole("runs", 0),
  whole("paused", 0, 1),
  text("revision"),
];
const dueText = `SELECT * FROM {p}_schedules WHERE paused = 0 AND next_at IS NOT NULL AND next_at <= ? AND ${soundRow(scheduleColumns)}
  ORDER BY next_at, id LIMIT ?`;
/** How a schedule is named whose id is no text. */
const lostId = "omniq-damaged-";

export class SqliteScheduleStorage implements ScheduleStorage {
  readonly component = "schedule-storage" as const;
  readonly backend: object;
  readonly capabilities: ComponentCapabilities;
  readonly #store: Store;
  readonly #life: Lifetime;

  constructor(backend: object, store: Store, capabilities: ComponentCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#life = new Lifetime("schedule storage", onClose);
  }

  async put(
    schedule: NewSchedule,
    revision: string | null | undefined,
    options: CallOptions = {},
  ): Promise<StoredSchedule | undefined> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) => {
        const stored = byId(tx.sql, schedule.id)?.revision ?? null;
        if (revision !== undefined && revision !== stored) return undefined;
        const { id, rule, template, nextAt, runs, paused } = schedule;
        const next = newRevision();
        tx.sql.run(
          "INSERT OR REPLACE INTO {p}_schedules (id, rule, template, next_at, runs, paused, revision) VALUES (?, ?, ?, ?, ?, ?, ?)",
          id,
          rule,
          template,
          nextAt,
          runs,
          paused ? 1 : 0,
          next,
        );
        return { id, rule, template, nextAt, runs, paused, revision: next };
      },
      options.signal,
      this.#life.signal,
    );
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredSchedule | undefined)[]> {
    this.#life.check(options.signal);
    return this.#store.read((sql) =>
      ids.map((id) => {
        const row = byId(sql, id);
        return row === undefined ? undefined : this.#show(row);
      }),
    );
  }

  async list(page: PageRequest, options: CallOptions = {}): Promise<Page<StoredSchedule>> {
    this.#life.check(options.signal);
    const key = listKey("s", {});
    const { limit, after } = readPage(key, page);
    return this.#store.read((sql) => {
      // SQLite's own order of text is that of its UTF-8 bytes.
      const rows = sql.all<ScheduleRow>(
        "SELECT * FROM {p}_schedules WHERE id > ? AND typeof(id) = 'text' ORDER BY id LIMIT ?",
        after ?? "",
        limit + 1,
      );
      const items = rows.slice(0, limit).map((row) => this.#show(row));
      if (rows.length <= limit) {
        // What has lost its id has no place in the order.
        const rest = sql.all<ScheduleRow>("SELECT * FROM {p}_schedules WHERE typeof(id) <> 'text' LIMIT 100");
        return { items: [...items, ...rest.map((row) => this.#show(row))] };
      }
      const last = items.at(-1);
      return last === undefined ? { items } : { items, next: writeCursor(key, last.id) };
    });
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<readonly boolean[]> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) =>
        ids.map((id) => {
          if (tx.sql.run("DELETE FROM {p}_schedules WHERE id = ?", id) > 0) return true;
          const bytes = id.startsWith(lostId) ? id.slice(lostId.length) : undefined;
          if (bytes === undefined) return false;
          return tx.sql.run("DELETE FROM {p}_schedules WHERE typeof(id) <> 'text' AND hex(id) = ?", bytes) > 0;
        }),
      options.signal,
      this.#life.signal,
    );
  }

  async due(
    limit: number,
    options: CallOptions = {},
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) => ({
      now,
      schedules: sql.all<ScheduleRow>(dueText, now, limit).map(toStoredSchedule),
    }));
  }

  async advance(
    id: string,
    revision: string,
    next: { readonly nextAt: number | null; readonly runs: number },
    options: CallOptions = {},
  ): Promise<boolean> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) =>
        tx.sql.run(
          "UPDATE {p}_schedules SET next_at = ?, runs = ?, revision = ? WHERE id = ? AND revision = ?",
          next.nextAt,
          next.runs,
          newRevision(),
          id,
          revision,
        ) > 0,
      options.signal,
      this.#life.signal,
    );
  }

  #show(row: ScheduleRow): StoredSchedule {
    if (isSound(scheduleColumns, row)) return toStoredSchedule(row);
    const damaged = toDamagedSchedule(row);
    this.#store.damaged("schedule", damaged.id);
    return damaged;
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function byId(sql: Sql, id: string): ScheduleRow | undefined {
  return sql.get<ScheduleRow>("SELECT * FROM {p}_schedules WHERE id = ?", id);
}

/** Random, so that a schedule that was deleted and made anew never has an old one's revision. */
function newRevision(): string {
  return randomBytes(9).toString("base64url");
}

/** What can be read of it; paused, so that it is never due. */
function toDamagedSchedule(row: ScheduleRow): StoredSchedule {
  const id: unknown = row.id;
  const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
  const hex = id instanceof Uint8Array ? Buffer.from(id).toString("hex").toUpperCase() : "";
  return {
    id: typeof id === "string" ? id : `${lostId}${hex}`,
    rule: textOf(row.rule),
    template: textOf(row.template),
    nextAt: holds(nextColumn, row.next_at) ? row.next_at : null,
    runs: Number.isSafeInteger(row.runs) && row.runs >= 0 ? row.runs : 0,
    paused: true,
    revision: textOf(row.revision),
  };
}

function toStoredSchedule(row: ScheduleRow): StoredSchedule {
  return {
    id: row.id,
    rule: row.rule,
    template: row.template,
    nextAt: row.next_at,
    runs: row.runs,
    paused: row.paused === 1,
    revision: row.revision,
  };
}
