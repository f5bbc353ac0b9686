// Upkeep: dead leases, expired and due tasks, and what is past its time. `reserve` does it for its queues, `sweep` for all.
import { expiriesLimit, expiryPauseMs } from "@omniq/core";
import { leaveGroup, refill, stateWhenDue } from "./groups.ts";
import { decide, queueError, removeTask } from "./outcomes.ts";
import { forget } from "./result-rows.ts";
import { cancelled, expired, failed, held, slimColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

/** Ends dead leases, expires and promotes at most about `bound` tasks each. Says how many it changed. */
export function upkeep(tx: Transacting, queue: string, bound: number): number {
  const { sql, now } = tx;
  let changed = 0;
  const dead = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE state = 4 AND queue = ? AND deadline <= ? ORDER BY deadline LIMIT ?`,
    queue,
    now,
    bound,
  );
  for (const row of dead) endDeadLease(tx, row);
  changed += dead.length;
  const late = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4 AND queue = ? AND expires_at <= ?
     ORDER BY expires_at LIMIT ?`,
    queue,
    now,
    bound,
  );
  for (const row of late) decide(tx, row, expired);
  changed += late.length;
  const due = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE state = 1 AND queue = ? AND run_at <= ? ORDER BY run_at, seq LIMIT ?`,
    queue,
    now,
    bound,
  );
  for (const row of due) promote(tx, row);
  return changed + due.length;
}

function promote(tx: Transacting, row: SlimRow): void {
  const state = stateWhenDue(tx, row.run_at, row.group_key, row.slot);
  tx.sql.run("UPDATE {p}_tasks SET state = ? WHERE seq = ?", state, row.seq);
  if (state === held && row.group_key !== null) refill(tx, row.queue, row.group_key);
  tx.wake.tasks = true;
}

/** The attempt is refunded; after a short random pause the task is due again, unless this was once too often. */
function endDeadLease(tx: Transacting, row: SlimRow): void {
  const attempt = row.attempt - 1;
  const expiries = row.expiries + 1;
  if (row.cancelling === 1) return decide(tx, row, cancelled, { attempt, expiries });
  if (expiries >= expiriesLimit) {
    const error = queueError({
      code: "OMNIQ_LEASE_LOST",
      message: `Its lease ran out ${expiries} times: the worker died, hung, or lost its connection each time`,
    });
    return decide(tx, row, failed, { error, attempt, expiries });
  }
  const runAt = tx.now + 1 + Math.floor(Math.random() * expiryPauseMs);
  const slot = row.slot === 1 && row.group_limit === 1 ? 1 : 0;
  tx.sql.run(
    `UPDATE {p}_tasks SET state = 1, attempt = ?, expiries = ?, run_at = ?, ready_at = ?, slot = ?, token = NULL, deadline = NULL
     WHERE seq = ?`,
    attempt,
    expiries,
    runAt,
    runAt,
    slot,
    row.seq,
  );
  if (slot === 0) leaveGroup(tx, row);
  tx.wake.tasks = true;
}

/** All queues, dead letters past their time, and what need not be remembered any more. */
export function sweepTasks(tx: Transacting, limit: number): number {
  const { sql, now } = tx;
  let left = limit;
  const queues = sql.all<{ name: string; dead_ttl: number | null }>("SELECT name, dead_ttl FROM {p}_queues");
  for (const { name, dead_ttl: deadTtl } of queues) {
    if (left <= 0) return limit;
    left -= upkeep(tx, name, left);
    if (deadTtl === null || left <= 0) continue;
    const dead = sql.all<SlimRow>(
      `SELECT ${slimColumns} FROM {p}_tasks WHERE state = 5 AND queue = ? AND finished_at <= ? AND unrecorded = 0 ORDER BY finished_at LIMIT ?`,
      name,
      now - deadTtl,
      left,
    );
    for (const row of dead) removeTask(tx, row);
    left -= dead.length;
  }
  if (left > 0) left -= forget(tx, left);
  for (const statement of [
    "DELETE FROM {p}_settled WHERE token IN (SELECT token FROM {p}_settled WHERE until <= ? LIMIT ?)",
    "DELETE FROM {p}_deduplication WHERE (queue, key) IN (SELECT queue, key FROM {p}_deduplication WHERE until <= ? LIMIT ?)",
  ]) {
    if (left > 0) left -= sql.run(statement, now, left);
  }
  return limit - Math.max(0, left);
}
