// The tables and how they come to be: versioned migrations, each run once, under the write lock.
import { OmniQError } from "@omniq/core";
import type { Sql } from "./sql.ts";

/**
 * Version 1. Partial indexes keep the cost of reserving and settling apart from the size of the backlog: each holds only the
 * tasks of one state. States: 0 blocked, 1 scheduled, 2 ready, 3 held back by its group, 4 active, 5 failed (dead letter),
 * 6 cancelled, 7 expired.
 */
const version1 = [
  `CREATE TABLE {p}_tasks (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    state INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    ready_at INTEGER NOT NULL,
    run_at INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    expires_at INTEGER,
    expires_in INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    run INTEGER NOT NULL DEFAULT 1,
    attempt INTEGER NOT NULL DEFAULT 0,
    expiries INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    result_ttl INTEGER,
    remember_ms INTEGER NOT NULL,
    cancelling INTEGER NOT NULL DEFAULT 0,
    unrecorded INTEGER NOT NULL DEFAULT 0,
    slot INTEGER NOT NULL DEFAULT 0,
    dependents INTEGER NOT NULL DEFAULT 0,
    edges INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    token TEXT,
    deadline INTEGER,
    dedup_key TEXT,
    dedup_window INTEGER,
    group_key TEXT,
    group_limit INTEGER,
    progress TEXT,
    error TEXT,
    envelope TEXT NOT NULL,
    payload TEXT NOT NULL
  ) STRICT`,
  "CREATE INDEX {p}_tasks_ready ON {p}_tasks (queue, priority DESC, ready_at, seq) WHERE state = 2",
  "CREATE INDEX {p}_tasks_due ON {p}_tasks (queue, run_at, seq) WHERE state = 1",
  "CREATE INDEX {p}_tasks_leased ON {p}_tasks (queue, deadline) WHERE state = 4",
  "CREATE INDEX {p}_tasks_expiring ON {p}_tasks (queue, expires_at) WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4",
  "CREATE INDEX {p}_tasks_blocked ON {p}_tasks (queue) WHERE state = 0",
  "CREATE INDEX {p}_tasks_held ON {p}_tasks (queue, group_key, group_limit, priority DESC, ready_at, seq) WHERE state = 3",
  "CREATE INDEX {p}_tasks_candidate ON {p}_tasks (queue, group_key) WHERE state = 2 AND slot = 0 AND group_key IS NOT NULL",
  "CREATE INDEX {p}_tasks_dead ON {p}_tasks (queue, finished_at) WHERE state = 5",
  "CREATE INDEX {p}_tasks_unrecorded ON {p}_tasks (finished_at, seq) WHERE unrecorded = 1",
  `CREATE TABLE {p}_queues (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0,
    max_active INTEGER,
    rate_limit INTEGER,
    rate_window INTEGER,
    rate_arrival REAL,
    dead_ttl INTEGER
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE {p}_groups (
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    slots INTEGER NOT NULL,
    PRIMARY KEY (queue, key)
  ) STRICT, WITHOUT ROWID`,
  `CREATE TABLE {p}_deduplication (
    queue TEXT NOT NULL,
    key TEXT NOT NULL,
    task_id TEXT NOT NULL,
    until INTEGER,
    PRIMARY KEY (queue, key)
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX {p}_deduplication_until ON {p}_deduplication (until) WHERE until IS NOT NULL",
  `CREATE TABLE {p}_dependencies (
    child INTEGER NOT NULL,
    position INTEGER NOT NULL,
    parent_id TEXT NOT NULL,
    may_fail INTEGER NOT NULL,
    status TEXT,
    run INTEGER,
    attempt INTEGER,
    finished_at INTEGER,
    error TEXT,
    value TEXT,
    PRIMARY KEY (child, position)
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX {p}_dependencies_open ON {p}_dependencies (parent_id) WHERE status IS NULL",
  `CREATE TABLE {p}_settled (
    token TEXT PRIMARY KEY,
    task_id TEXT NOT NULL,
    until INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX {p}_settled_until ON {p}_settled (until)",
  // What is known of a task that is over: its result (`status` is NULL without one), and what its queue remembers of it, in one row, since
  // most tasks leave the queue in the same step in which their result is stored. A row is in at most one of the two indexes.
  `CREATE TABLE {p}_past (
    seq INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    status TEXT,
    run INTEGER,
    attempt INTEGER,
    name TEXT,
    queue TEXT,
    finished_at INTEGER,
    expires_at INTEGER,
    known_until INTEGER NOT NULL DEFAULT 0,
    mark TEXT,
    mark_until INTEGER NOT NULL DEFAULT 0,
    gone_at INTEGER,
    error TEXT,
    value TEXT
  ) STRICT`,
  "CREATE INDEX {p}_past_expires ON {p}_past (expires_at) WHERE expires_at IS NOT NULL",
  "CREATE INDEX {p}_past_gone ON {p}_past (gone_at) WHERE gone_at IS NOT NULL",
  `CREATE TABLE {p}_events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task_name TEXT NOT NULL,
    queue TEXT NOT NULL,
    run INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    data TEXT
  ) STRICT`,
  "CREATE INDEX {p}_events_task ON {p}_events (task_id, seq)",
  "CREATE INDEX {p}_events_at ON {p}_events (at)",
  `CREATE TABLE {p}_schedules (
    id TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    template TEXT NOT NULL,
    next_at INTEGER,
    runs INTEGER NOT NULL,
    paused INTEGER NOT NULL,
    revision TEXT NOT NULL
  ) STRICT, WITHOUT ROWID`,
  "CREATE INDEX {p}_schedules_due ON {p}_schedules (next_at) WHERE paused = 0 AND next_at IS NOT NULL",
];

/**
 * Version 2: tasks that could not be read are marked, and what is rare is found without looking at the rest: active tasks whose cancel was
 * asked for, and the tasks that take a slot of their group.
 */
const version2 = [
  "ALTER TABLE {p}_tasks ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0",
  "CREATE INDEX {p}_tasks_cancelling ON {p}_tasks (id) WHERE cancelling = 1",
  "CREATE INDEX {p}_tasks_slots ON {p}_tasks (queue, group_key) WHERE slot = 1",
];

const migrations: readonly (readonly string[])[] = [version1, version2];
/** The version that this package writes. */
export const schemaVersion: number = migrations.length;

/** The stored version; 0 where there are no tables yet. Throws `OMNIQ_ADAPTER_INCOMPATIBLE` for a newer one. */
export function storedVersion(sql: Sql, prefix: string, what: string): number {
  const table = sql.get("SELECT 1 AS there FROM sqlite_master WHERE type = 'table' AND name = ?", `${prefix}_meta`);
  if (table === undefined) return 0;
  const row = sql.get<{ value: string }>("SELECT value FROM {p}_meta WHERE key = 'version'");
  const version = row === undefined ? 0 : Number(row.value);
  if (!Number.isSafeInteger(version) || version < 0) {
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `The version of the tables "${prefix}_…" of ${what} can't be read: they are damaged, or not OmniQ's; restore a backup, or give another prefix`,
    );
  }
  if (version > schemaVersion) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `The tables "${prefix}_…" of ${what} have version ${row?.value}, newer than ${schemaVersion}, which this @omniq/sqlite knows; update it`,
    );
  }
  return version;
}

/**
 * Brings the tables up to date. Of many processes that start at once one does it, for the version is read again under the write
 * lock. Inside an open transaction (a user's) it becomes part of it.
 */
export function migrate(sql: Sql, prefix: string, what: string): void {
  if (storedVersion(sql, prefix, what) === schemaVersion) return;
  const own = !sql.handle.inTransaction;
  if (own) sql.run("BEGIN IMMEDIATE");
  try {
    const from = storedVersion(sql, prefix, what);
    if (from < schemaVersion) {
      sql.once("CREATE TABLE IF NOT EXISTS {p}_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID");
      for (const statements of migrations.slice(from)) for (const statement of statements) sql.once(statement);
      sql.run(
        "INSERT INTO {p}_meta (key, value) VALUES ('version', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        String(schemaVersion),
      );
    }
    if (own) sql.run("COMMIT");
  } catch (error) {
    if (own && sql.handle.inTransaction) sql.run("ROLLBACK");
    throw error;
  }
}
