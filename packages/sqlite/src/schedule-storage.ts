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
    return this.#store.write((tx) => {
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
    }, options.signal);
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredSchedule | undefined)[]> {
    this.#life.check(options.signal);
    return this.#store.read((sql) =>
      ids.map((id) => {
        const row = byId(sql, id);
        return row === undefined ? undefined : toStoredSchedule(row);
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
        "SELECT * FROM {p}_schedules WHERE id > ? ORDER BY id LIMIT ?",
        after ?? "",
        limit + 1,
      );
      const items = rows.slice(0, limit).map(toStoredSchedule);
      const last = items.at(-1);
      return rows.length > limit && last !== undefined ? { items, next: writeCursor(key, last.id) } : { items };
    });
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<readonly boolean[]> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) => ids.map((id) => tx.sql.run("DELETE FROM {p}_schedules WHERE id = ?", id) > 0),
      options.signal,
    );
  }

  async due(
    limit: number,
    options: CallOptions = {},
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) => ({
      now,
      schedules: sql
        .all<ScheduleRow>(
          "SELECT * FROM {p}_schedules WHERE paused = 0 AND next_at IS NOT NULL AND next_at <= ? ORDER BY next_at, id LIMIT ?",
          now,
          limit,
        )
        .map(toStoredSchedule),
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
    );
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
