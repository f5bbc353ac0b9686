// Settling and extending leases: everything is fenced by the token.
import { settleRepeatMs, type LeaseExtension, type LeaseState, type Settlement, type SettleState } from "@omniq/core";
import { appendEvents } from "./event-rows.ts";
import { leaveGroup, stateWhenDue } from "./groups.ts";
import { decide, leave, releaseKey, tellDependents } from "./outcomes.ts";
import { putResult } from "./result-rows.ts";
import { cancelled, failed, held, seqOf, slimColumns, type SlimRow } from "./task-row.ts";
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
  const completed = new Completed(tx);
  const states = settlements.map((settlement): SettleState => {
    if (settlement.outcome === "completed" && completed.add(settlement)) return "settled";
    completed.flush();
    return settleOne(tx, settlement);
  });
  completed.flush();
  // Where a queue's limit kept tasks back, a settlement lets them start, in any process.
  for (const queue of new Set(settlements.map((settlement) => settlement.queue))) {
    if (tx.wake.tasks) break;
    const limited = tx.sql.get("SELECT 1 AS there FROM {p}_queues WHERE name = ? AND max_active IS NOT NULL", queue);
    if (limited !== undefined) tx.wake.tasks = true;
  }
  return states;
}

/**
 * The short way of most settlements: a completed task that no other depends on, without group and key, moves to the past in one
 * statement, found by the number in its token; and all of a batch leave the queue in another.
 */
class Completed {
  readonly #tx: Transacting;
  #left: number[] = [];

  constructor(tx: Transacting) {
    this.#tx = tx;
  }

  /** `false` where this is no such task, or the lease is not current: nothing is changed then. */
  add(settlement: Terminal): boolean {
    const { sql, now, wake } = this.#tx;
    const { taskId, token, storeResult, value, events } = settlement;
    const seq = seqOf(token);
    if (seq === undefined) return false;
    const moved = sql.run(
      storeResult ? moveWithResult : moveWithout,
      ...(storeResult
        ? [now, now, now, settledMark(settlement), now + settleRepeatMs, value ?? null, seq, token, taskId]
        : [now, settledMark(settlement), now + settleRepeatMs, now + settleRepeatMs, now, seq, token, taskId]),
    );
    if (moved === 0) return false;
    this.#left.push(seq);
    if (storeResult) wake.results.add(taskId);
    if (events !== undefined && events.length > 0) appendEvents(this.#tx, events);
    return true;
  }

  /** Must come before anything else looks at these tasks. */
  flush(): void {
    if (this.#left.length === 0) return;
    this.#tx.sql.run("DELETE FROM {p}_tasks WHERE seq IN (SELECT value FROM json_each(?))", `[${this.#left.join()}]`);
    this.#left = [];
  }
}

// A row that is there already, from an earlier run or an earlier task of this id, is left to the long way.
const plain = `FROM {p}_tasks
  WHERE seq = ? AND token = ? AND id = ? AND state = 4 AND group_key IS NULL AND dedup_key IS NULL AND edges = 0 AND dependents = 0`;
const moveWithResult = `INSERT INTO {p}_past
    (task_id, status, run, attempt, name, queue, finished_at, expires_at, known_until, mark, mark_until, value)
  SELECT id, 'completed', run, attempt, name, queue, ?, ? + result_ttl, ? + remember_ms, ?, ?, ? ${plain} AND result_ttl IS NOT 0
  ON CONFLICT (task_id) DO NOTHING`;
const moveWithout = `INSERT INTO {p}_past (task_id, known_until, mark, mark_until, gone_at)
  SELECT id, ? + remember_ms, ?, ?, max(?, ? + remember_ms) ${plain}
  ON CONFLICT (task_id) DO NOTHING`;

function settleOne(tx: Transacting, settlement: Settlement): SettleState {
  const { sql } = tx;
  const row = sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE id = ?`, settlement.taskId);
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
    else release(tx, row);
  }
  if (settlement.events !== undefined && settlement.events.length > 0) appendEvents(tx, settlement.events);
  return "settled";
}

/** What a repeated settlement is known by: only the same outcome is the same settlement. */
function settledMark({ token, outcome }: Settlement): string {
  return `${outcome}:${token}`;
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

function retryLater(tx: Transacting, row: SlimRow, delayMs: number, error: string): void {
  if (row.cancelling === 1) return decide(tx, row, cancelled, { error });
  if (row.attempt >= row.max_attempts) return decide(tx, row, failed, { error });
  const slot = row.slot === 1 && row.group_limit === 1 ? 1 : 0;
  // A delay with jitter may have a fraction; times are whole.
  const runAt = tx.now + Math.ceil(delayMs);
  putBack(tx, row, { runAt, readyAt: runAt, slot, attempt: row.attempt, error });
}

function release(tx: Transacting, row: SlimRow): void {
  const attempt = row.attempt - 1;
  if (row.cancelling === 1) return decide(tx, row, cancelled, { attempt });
  // A task that was leased ahead and given back has not started yet, so its expiry counts again.
  if (attempt === 0 && row.expiries === 0) tx.sql.run("UPDATE {p}_tasks SET started_at = NULL WHERE seq = ?", row.seq);
  putBack(tx, row, { runAt: row.run_at, readyAt: row.ready_at, slot: 0, attempt, error: row.error });
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
