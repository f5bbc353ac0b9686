// Settling and extending leases: everything is fenced by the token.
import { settleRepeatMs, type LeaseExtension, type LeaseState, type Settlement, type SettleState } from "@omniq/core";
import { completeAll, isLike, isShort, type Completion } from "./complete.ts";
import { sound } from "./damage.ts";
import { appendEvents } from "./event-rows.ts";
import { leaveGroup, stateWhenDue } from "./groups.ts";
import { decide, leave, releaseKey, tellDependents } from "./outcomes.ts";
import { settledMark } from "./settled-mark.ts";
import { putResult } from "./result-rows.ts";
import { cancelled, failed, held, slimColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

export function extendLeases(tx: Transacting, leases: readonly LeaseExtension[], leaseMs: number): LeaseState[] {
  const deadline = tx.now + Math.ceil(leaseMs);
  return leases.map((lease) => {
    const row = tx.sql.get<{ cancelling: number }>(
      "UPDATE {p}_tasks SET deadline = ?, progress = coalesce(?, progress) WHERE id = ? AND token = ? AND state = 4 RETURNING cancelling",
      deadline,
      lease.progress ?? null,
      lease.taskId,
      lease.token,
    );
    return row === undefined ? { state: "lost" } : { state: row.cancelling === 1 ? "cancelling" : "held", deadline };
  });
}

export function settleAll(tx: Transacting, settlements: readonly Settlement[]): SettleState[] {
  const states: SettleState[] = [];
  for (let at = 0; at < settlements.length;) {
    const first = settlements[at] as Settlement;
    let end = at + 1;
    if (isShort(first)) {
      while (end < settlements.length && isLike(first, settlements[end])) end++;
      completeAll(tx, settlements.slice(at, end) as Completion[], states, settleOne);
    } else states.push(settleOne(tx, first));
    at = end;
  }
  // Where a queue's limit kept tasks back, a settlement lets them start, in any process.
  for (const queue of new Set(settlements.map((settlement) => settlement.queue))) {
    if (tx.wake.tasks) break;
    const limited = tx.sql.get("SELECT 1 AS there FROM {p}_queues WHERE name = ? AND max_active IS NOT NULL", queue);
    if (limited !== undefined) tx.wake.tasks = true;
  }
  return states;
}

function settleOne(tx: Transacting, settlement: Settlement): SettleState {
  const { sql } = tx;
  const row = sound(tx, sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE id = ?`, settlement.taskId));
  if (row === undefined || row.state !== 4 || row.token !== settlement.token)
    return wasSettled(tx, settlement) ? "settled" : "lost";
  if (settlement.outcome === "completed" || settlement.outcome === "failed" || settlement.outcome === "cancelled") {
    finish(tx, row, settlement);
  } else {
    sql.run(
      "INSERT OR REPLACE INTO {p}_settled (token, task_id, until) VALUES (?, ?, ?)",
      settledMark(settlement),
      row.id,
      tx.now + settleRepeatMs,
    );
    if (settlement.outcome === "retry") retryLater(tx, row, settlement.delayMs, settlement.error);
    else if (settlement.outcome === "release") release(tx, row, settlement.delayMs ?? 0);
  }
  if (settlement.events !== undefined && settlement.events.length > 0) appendEvents(tx, settlement.events);
  return "settled";
}

function wasSettled(tx: Transacting, settlement: Settlement): boolean {
  return (
    tx.sql.get(
      `SELECT 1 AS there FROM {p}_past WHERE task_id = ? AND mark = ? AND mark_until > ?
       UNION ALL SELECT 1 FROM {p}_settled WHERE token = ? AND task_id = ? AND until > ?`,
      settlement.taskId,
      settledMark(settlement),
      tx.now,
      settledMark(settlement),
      settlement.taskId,
      tx.now,
    ) !== undefined
  );
}

type Terminal = Extract<Settlement, { readonly outcome: "completed" | "failed" | "cancelled" }>;

function finish(tx: Transacting, row: SlimRow, settlement: Terminal): void {
  const { outcome, value, error } = settlement;
  if (settlement.storeResult && row.result_ttl !== 0) {
    putResult(tx, {
      taskId: row.id,
      run: row.run,
      attempt: row.attempt,
      name: row.name,
      queue: row.queue,
      status: outcome,
      value,
      error,
      finishedAt: tx.now,
      ttlMs: row.result_ttl,
    });
  }
  if (outcome === "failed") {
    tx.sql.run(
      `UPDATE {p}_tasks SET state = 5, finished_at = ?, error = ?, slot = 0, token = NULL, deadline = NULL WHERE seq = ?`,
      tx.now,
      error ?? null,
      row.seq,
    );
    tx.sql.run(
      "INSERT OR REPLACE INTO {p}_settled (token, task_id, until) VALUES (?, ?, ?)",
      settledMark(settlement),
      row.id,
      tx.now + settleRepeatMs,
    );
    releaseKey(tx, row);
    leaveGroup(tx, row);
  } else {
    leave(tx, row, settledMark(settlement));
  }
  tellDependents(tx, row, {
    status: outcome,
    run: row.run,
    attempt: row.attempt,
    finishedAt: tx.now,
    value: value ?? null,
    error: error ?? null,
  });
}

/** The last millisecond that a `Date` can hold. */
const lastTime = 8.64e15;

/** A task of limit 1 keeps its group's slot while it waits, so that no other of its group overtakes it. */
function keptSlot(row: SlimRow): number {
  return row.slot === 1 && row.group_limit === 1 ? 1 : 0;
}

function retryLater(tx: Transacting, row: SlimRow, delayMs: number, error: string): void {
  if (row.cancelling === 1) return decide(tx, row, cancelled, { error });
  if (row.attempt >= row.max_attempts) return decide(tx, row, failed, { error });
  const runAt = afterDelay(tx, delayMs);
  putBack(tx, row, { runAt, readyAt: runAt, slot: keptSlot(row), attempt: row.attempt, error });
}

/** A delay with jitter may have a fraction, and one that a handler chose may be no number or endless; times are whole, and within the calendar. */
function afterDelay(tx: Transacting, delayMs: number): number {
  const whole = Math.ceil(delayMs);
  return Math.min(tx.now + (whole > 0 ? whole : 0), lastTime);
}

function release(tx: Transacting, row: SlimRow, delayMs: number): void {
  const attempt = row.attempt - 1;
  if (row.cancelling === 1) return decide(tx, row, cancelled, { attempt });
  // A task that was leased ahead and given back has not started yet, so its expiry counts again.
  if (attempt === 0 && row.expiries === 0) tx.sql.run("UPDATE {p}_tasks SET started_at = NULL WHERE seq = ?", row.seq);
  if (!(delayMs > 0))
    return putBack(tx, row, { runAt: row.run_at, readyAt: row.ready_at, slot: 0, attempt, error: row.error });
  const runAt = afterDelay(tx, delayMs);
  putBack(tx, row, { runAt, readyAt: runAt, slot: keptSlot(row), attempt, error: row.error });
}

function putBack(
  tx: Transacting,
  row: SlimRow,
  place: {
    readonly runAt: number;
    readonly readyAt: number;
    readonly slot: number;
    readonly attempt: number;
    readonly error: string | null;
  },
): void {
  const state = stateWhenDue(tx, place.runAt, row.group_key, place.slot);
  tx.sql.run(
    `UPDATE {p}_tasks SET state = ?, run_at = ?, ready_at = ?, slot = ?, attempt = ?, error = ?, token = NULL, deadline = NULL
     WHERE seq = ?`,
    state,
    place.runAt,
    place.readyAt,
    place.slot,
    place.attempt,
    place.error,
    row.seq,
  );
  if (state === held || place.slot === 0) leaveGroup(tx, row);
  tx.wake.tasks = true;
}
