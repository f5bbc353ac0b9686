// Results as they stand in the table of what is over.
import type { NewResult, ResultStatus, StoredResult } from "@omniq/core";
import { holds, isSound, nullable, oneOf, text, time, whole, type Column } from "./columns.ts";
import { damagedResultError } from "./damaged-error.ts";
import { resultStatuses } from "./task-row.ts";
import type { SqlValue, Transacting } from "./sql.ts";

export interface ResultRow {
  readonly seq: number;
  readonly task_id: string;
  readonly run: number;
  readonly attempt: number;
  readonly name: string;
  readonly queue: string;
  readonly status: ResultStatus;
  readonly finished_at: number;
  readonly expires_at: number | null;
  readonly error: string | null;
  readonly value: string | null;
}

/** The columns of a {@link ResultRow}. */
export const resultColumns = "seq, task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value";

/** Stores a result if none stands, or one of a lower run, or one that is past its time. Says whether it did. */
export function putResult(tx: Transacting, result: NewResult): boolean {
  const finishedAt = result.finishedAt ?? tx.now;
  const changes = tx.sql.run(
    `INSERT INTO {p}_past (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (task_id) DO UPDATE SET run = excluded.run, attempt = excluded.attempt, name = excluded.name, queue = excluded.queue,
       status = excluded.status, finished_at = excluded.finished_at, expires_at = excluded.expires_at, error = excluded.error,
       value = excluded.value, gone_at = NULL
     WHERE status IS NULL OR excluded.run > run OR expires_at <= ?`,
    result.taskId,
    result.run,
    result.attempt,
    result.name,
    result.queue,
    result.status,
    finishedAt,
    result.ttlMs === null ? null : finishedAt + result.ttlMs,
    result.error ?? null,
    result.value ?? null,
    tx.now,
  );
  if (changes > 0) tx.wake.results.add(result.taskId);
  return changes > 0;
}

/** Takes results away; what the queue remembers of their tasks stays as long as it must. Says how many there were. */
export function dropResults(tx: Transacting, condition: string, ...values: SqlValue[]): number {
  const dropped = tx.sql.run(
    `UPDATE {p}_past SET status = NULL, expires_at = NULL, error = NULL, value = NULL, gone_at = max(known_until, mark_until)
     WHERE status IS NOT NULL AND ${condition}`,
    ...values,
  );
  // Where the queue is elsewhere nothing is remembered, and nobody else would take the rows away.
  if (dropped > 0) forget(tx, dropped);
  return dropped;
}

/** Deletes at most `limit` rows that neither hold a result nor need be remembered. Says how many. */
export function forget(tx: Transacting, limit: number): number {
  return tx.sql.run(
    "DELETE FROM {p}_past WHERE seq IN (SELECT seq FROM {p}_past WHERE gone_at <= ? ORDER BY gone_at LIMIT ?)",
    tx.now,
    limit,
  );
}

const runColumn = whole("run", 1);
const resultColumnsSound: readonly Column[] = [
  whole("seq", 1),
  text("task_id"),
  runColumn,
  whole("attempt", 0),
  text("name"),
  text("queue"),
  oneOf("status", resultStatuses),
  time("finished_at"),
  nullable(time("expires_at")),
  nullable(text("error")),
  nullable(text("value")),
];

export function isSoundResult(row: ResultRow): boolean {
  return isSound(resultColumnsSound, row);
}

/** Of one that cannot be read: a failure that says so. `run` is that which was asked for, where its own is lost. */
export function toStoredResult(row: ResultRow, run = 1): StoredResult {
  if (!isSoundResult(row)) {
    const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
    return {
      taskId: textOf(row.task_id),
      run: holds(runColumn, row.run) ? row.run : run,
      attempt: 0,
      name: textOf(row.name),
      queue: textOf(row.queue),
      status: "failed",
      error: damagedResultError,
      finishedAt: 0,
      expiresAt: null,
    };
  }
  return {
    taskId: row.task_id,
    run: row.run,
    attempt: row.attempt,
    name: row.name,
    queue: row.queue,
    status: row.status,
    ...(row.value === null ? {} : { value: row.value }),
    ...(row.error === null ? {} : { error: row.error }),
    finishedAt: row.finished_at,
    expiresAt: row.expires_at,
  };
}
