// How tasks end: outcomes that the queue decides, what dependents get to know, and leaving the queue.
import { settleRepeatMs, type QueueError, type ResultStatus, type UnrecordedOutcome } from "@omniq/core";
import { sound } from "./damage.ts";
import { leaveGroup, refill, stateWhenDue } from "./groups.ts";
import {
  blocked,
  cancelled,
  expired,
  failed,
  held,
  slimColumns,
  slimSound,
  type EdgeRow,
  type SlimRow,
} from "./task-row.ts";
import type { Sql, Transacting } from "./sql.ts";

/** What a dependent is told of one that it depends on. */
export interface Ending {
  readonly status: ResultStatus;
  readonly run: number;
  readonly attempt: number;
  readonly finishedAt: number;
  readonly value: string | null;
  readonly error: string | null;
}

export function queueError(error: QueueError): string {
  return JSON.stringify(error);
}

/** The queue ends a task by itself: it stays, in its terminal state, until its outcome is recorded. */
export function decide(
  tx: Transacting,
  row: SlimRow,
  state: typeof failed | typeof cancelled | typeof expired,
  change: { readonly error?: string | null; readonly attempt?: number; readonly expiries?: number } = {},
): void {
  tx.sql.run(
    `UPDATE {p}_tasks SET state = ?, unrecorded = 1, finished_at = ?, error = ?, attempt = ?, expiries = ?, slot = 0, token = NULL,
       deadline = NULL WHERE seq = ?`,
    state,
    tx.now,
    change.error === undefined ? row.error : change.error,
    change.attempt ?? row.attempt,
    change.expiries ?? row.expiries,
    row.seq,
  );
  leaveGroup(tx, row);
}

/** Tells all that wait for this task how it ended; they become ready, or dead letters. */
export function tellDependents(tx: Transacting, parent: Pick<SlimRow, "id" | "dependents">, ending: Ending): void {
  if (parent.dependents === 0) return;
  const edges = tx.sql.all<EdgeRow>("SELECT * FROM {p}_dependencies WHERE parent_id = ? AND status IS NULL", parent.id);
  edges.sort((one, other) => one.child - other.child || one.position - other.position);
  for (const edge of edges) {
    closeEdge(tx, edge.child, edge.position, ending);
    // `max` keeps a number that was damaged from failing the statement, and with it the settlement of the other task.
    const child = sound(
      tx,
      tx.sql.get<SlimRow>(
        `UPDATE {p}_tasks SET pending = max(pending - 1, 0) WHERE seq = ? RETURNING ${slimColumns}`,
        edge.child,
      ),
    );
    if (child === undefined || child.state !== blocked) continue;
    if (ending.status !== "completed" && edge.may_fail === 0) failDependent(tx, child, parent.id, ending.status);
    else if (child.pending === 0) unblock(tx, child);
  }
}

export function closeEdge(tx: Transacting, child: number, position: number, ending: Ending): void {
  tx.sql.run(
    `UPDATE {p}_dependencies SET status = ?, run = ?, attempt = ?, finished_at = ?, value = ?, error = ? WHERE child = ? AND position = ?`,
    ending.status,
    ending.run,
    ending.attempt,
    ending.finishedAt,
    ending.value,
    ending.error,
    child,
    position,
  );
}

export function failDependent(tx: Transacting, child: SlimRow, parentId: string, status: ResultStatus): void {
  const error = queueError({
    code: "OMNIQ_DEPENDENCY_FAILED",
    message: `The task "${parentId}", on which this one depends, ended as ${status}`,
    taskId: parentId,
  });
  decide(tx, child, failed, { error });
}

/** All that it depended on is over: ready now, or scheduled if its time is still to come. */
export function unblock(tx: Transacting, child: SlimRow): void {
  const state = stateWhenDue(tx, child.run_at, child.group_key, child.slot);
  tx.sql.run(
    "UPDATE {p}_tasks SET state = ?, ready_at = ? WHERE seq = ?",
    state,
    Math.max(child.run_at, tx.now),
    child.seq,
  );
  if (state === held && child.group_key !== null) refill(tx, child.queue, child.group_key);
  tx.wake.tasks = true;
}

/** Without a window a key is held while its task is live. One that expired before it was started holds nothing in a window neither. */
export function releaseKey(
  tx: Transacting,
  row: Pick<SlimRow, "id" | "queue" | "dedup_key"> & { readonly state?: number },
): void {
  if (row.dedup_key === null) return;
  tx.sql.run(
    "DELETE FROM {p}_deduplication WHERE queue = ? AND key = ? AND task_id = ? AND (until IS NULL OR ?)",
    row.queue,
    row.dedup_key,
    row.id,
    row.state === expired ? 1 : 0,
  );
}

/**
 * Takes a task out of the queue; its id stays known, unless it is to be free. `mark` is of the settlement that ended it, so that it can be
 * repeated.
 */
export function leave(tx: Transacting, row: SlimRow, mark: string | null, id: "known" | "free" = "known"): void {
  const { sql, now } = tx;
  sql.run("DELETE FROM {p}_tasks WHERE seq = ?", row.seq);
  const knownUntil = id === "free" ? 0 : now + row.remember_ms;
  const markUntil = mark === null ? 0 : now + settleRepeatMs;
  sql.run(
    `INSERT INTO {p}_past (task_id, known_until, mark, mark_until, gone_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT (task_id) DO UPDATE SET known_until = excluded.known_until, mark = excluded.mark, mark_until = excluded.mark_until,
       gone_at = iif(status IS NULL, excluded.gone_at, NULL)`,
    row.id,
    knownUntil,
    mark,
    markUntil,
    Math.max(knownUntil, markUntil),
  );
  if (row.edges > 0) sql.run("DELETE FROM {p}_dependencies WHERE child = ?", row.seq);
  releaseKey(tx, row);
  leaveGroup(tx, row);
}

/** Removes a waiting task or a recorded dead letter, without a result. Dependents of a waiting one see it as cancelled. */
export function removeTask(tx: Transacting, row: SlimRow, id: "known" | "free"): void {
  leave(tx, row, null, id);
  tellDependents(tx, row, {
    status: row.state === failed ? "failed" : "cancelled",
    run: row.run,
    attempt: row.attempt,
    finishedAt: tx.now,
    value: null,
    error: row.error,
  });
}

const statuses: Readonly<Record<number, "failed" | "cancelled" | "expired">> = {
  [failed]: "failed",
  [cancelled]: "cancelled",
  [expired]: "expired",
};

export function unrecorded(sql: Sql, limit: number): UnrecordedOutcome[] {
  const rows = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE unrecorded = 1 AND ${slimSound} ORDER BY finished_at, seq LIMIT ?`,
    limit,
  );
  return rows.map((row) => ({
    taskId: row.id,
    run: row.run,
    attempt: row.attempt,
    name: row.name,
    queue: row.queue,
    status: statuses[row.state] ?? "failed",
    ...(row.error === null ? {} : { error: row.error }),
    finishedAt: row.finished_at ?? 0,
    resultTtlMs: row.result_ttl,
  }));
}

/** The outcome's result is stored: dependents and the key are let go; only dead letters stay. */
export function record(tx: Transacting, outcomes: readonly { readonly taskId: string; readonly run: number }[]): void {
  for (const { taskId, run } of outcomes) {
    const row = sound(
      tx,
      tx.sql.get<SlimRow>(
        `SELECT ${slimColumns} FROM {p}_tasks WHERE id = ? AND run = ? AND unrecorded = 1`,
        taskId,
        run,
      ),
    );
    if (row === undefined) continue;
    if (row.state === failed) {
      tx.sql.run("UPDATE {p}_tasks SET unrecorded = 0 WHERE seq = ?", row.seq);
      releaseKey(tx, row);
    } else {
      leave(tx, row, null);
    }
    tellDependents(tx, row, {
      status: statuses[row.state] ?? "failed",
      run: row.run,
      attempt: row.attempt,
      finishedAt: row.finished_at ?? tx.now,
      value: null,
      error: row.error,
    });
  }
}
