// Results as they stand in their table.
import type { NewResult, ResultStatus, StoredResult } from "@omniq/core";
import type { Transacting } from "./sql.ts";

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

/** Stores a result if none stands, or one of a lower run, or one that is past its time. Says whether it did. */
export function putResult(tx: Transacting, result: NewResult): boolean {
  const finishedAt = result.finishedAt ?? tx.now;
  const changes = tx.sql.run(
    `INSERT INTO {p}_results (task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (task_id) DO UPDATE SET run = excluded.run, attempt = excluded.attempt, name = excluded.name, queue = excluded.queue,
       status = excluded.status, finished_at = excluded.finished_at, expires_at = excluded.expires_at, error = excluded.error, value = excluded.value
     WHERE excluded.run > run OR expires_at <= ?`,
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

export function toStoredResult(row: ResultRow): StoredResult {
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
