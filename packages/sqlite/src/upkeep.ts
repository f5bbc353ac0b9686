// Upkeep: dead leases, expired and due tasks, and what is past its time. `reserve` does it for its queues, `sweep` for all.
import { expiriesLimit, expiryPauseMs } from "@omniq/core";
import { sound } from "./damage.ts";
import { leaveGroup, refill, stateWhenDue } from "./groups.ts";
import { decide, queueError, removeTask } from "./outcomes.ts";
import { forget } from "./result-rows.ts";
import { newScan, scan, type ScanPosition } from "./scan.ts";
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
  for (const row of dead) if (sound(tx, row) !== undefined) endDeadLease(tx, row);
  changed += dead.length;
  const late = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4 AND queue = ? AND expires_at <= ?
     ORDER BY expires_at LIMIT ?`,
    queue,
    now,
    bound,
  );
  for (const row of late) if (sound(tx, row) !== undefined) decide(tx, row, expired);
  changed += late.length;
  const due = sql.all<SlimRow>(
    `SELECT ${slimColumns} FROM {p}_tasks WHERE state = 1 AND queue = ? AND run_at <= ? ORDER BY run_at, seq LIMIT ?`,
    queue,
    now,
    bound,
  );
  for (const row of due) if (sound(tx, row) !== undefined) promote(tx, row);
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

/** The queues that have something due by one of the indexes, found without looking at any other queue. */
function queuesWith(condition: string, time: string): string {
  const next = (from: string): string => `SELECT min(queue) FROM {p}_tasks WHERE ${condition}${from}`;
  return `WITH RECURSIVE names(name) AS (${next("")} UNION ALL SELECT (${next(" AND queue > names.name")}) FROM names WHERE name IS NOT NULL)
    SELECT name FROM names WHERE name IS NOT NULL AND (SELECT min(${time}) FROM {p}_tasks WHERE ${condition} AND queue = names.name) <= ?`;
}
const dueQueues = [
  queuesWith("state = 4", "deadline"),
  queuesWith("expires_at IS NOT NULL AND started_at IS NULL AND state < 4", "expires_at"),
  queuesWith("state = 1", "run_at"),
];

/** Where the sweep of names of queues is; one for each process. */
export interface SweepPosition extends ScanPosition {
  name: string;
}

export function newSweep(): SweepPosition {
  return { ...newScan(), name: "" };
}

const namesAStep = 1_000;

/** Names of queues that have nothing, no settings neither, go away: what was used once must not cost for ever. */
function forgetQueues(tx: Transacting, position: SweepPosition): void {
  const rows = tx.sql.rows<[string]>(
    "SELECT name FROM {p}_queues WHERE name > ? ORDER BY name LIMIT ?",
    position.name,
    namesAStep,
  );
  const last = rows.at(-1)?.[0];
  if (typeof last === "string") {
    const empty = [0, 1, 2, 3, 4, 5]
      .map((state) => `NOT EXISTS (SELECT 1 FROM {p}_tasks WHERE state = ${state} AND queue = {p}_queues.name)`)
      .join(" AND ");
    tx.sql.run(
      `DELETE FROM {p}_queues WHERE name > ? AND name <= ? AND paused = 0 AND max_active IS NULL AND rate_limit IS NULL AND dead_ttl IS NULL
         AND ${empty} AND NOT EXISTS (SELECT 1 FROM {p}_tasks WHERE unrecorded = 1 AND queue = {p}_queues.name)`,
      position.name,
      last,
    );
  }
  position.name = rows.length < namesAStep || typeof last !== "string" ? "" : last;
}

/** All queues, dead letters past their time, what need not be remembered any more, and a step of the walk over all tasks. */
export function sweepTasks(tx: Transacting, limit: number, position: SweepPosition): number {
  const { sql, now } = tx;
  let left = limit;
  const queues = new Set(dueQueues.flatMap((text) => sql.rows<[string]>(text, now).map(([name]) => name)));
  for (const name of queues) {
    if (left <= 0) return limit;
    left -= upkeep(tx, name, left);
  }
  const mortal = sql.all<{ name: string; dead_ttl: number }>(
    "SELECT name, dead_ttl FROM {p}_queues WHERE typeof(dead_ttl) = 'integer'",
  );
  for (const { name, dead_ttl: deadTtl } of mortal) {
    if (left <= 0) return limit;
    const dead = sql.all<SlimRow>(
      `SELECT ${slimColumns} FROM {p}_tasks WHERE state = 5 AND queue = ? AND finished_at <= ? AND unrecorded = 0 ORDER BY finished_at LIMIT ?`,
      name,
      now - deadTtl,
      left,
    );
    for (const row of dead) if (sound(tx, row) !== undefined) removeTask(tx, row, "known");
    left -= dead.length;
  }
  if (left > 0) left -= forget(tx, left);
  for (const statement of [
    "DELETE FROM {p}_settled WHERE token IN (SELECT token FROM {p}_settled WHERE until <= ? LIMIT ?)",
    "DELETE FROM {p}_deduplication WHERE (queue, key) IN (SELECT queue, key FROM {p}_deduplication WHERE until <= ? LIMIT ?)",
  ]) {
    if (left > 0) left -= sql.run(statement, now, left);
  }
  forgetQueues(tx, position);
  // What the walk changes is not counted: it goes on with the next sweep, be there much to do or not.
  scan(tx, position);
  return limit - Math.max(0, left);
}
