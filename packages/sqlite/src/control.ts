// Control: cancel, retry, remove, purge, pause and the settings of queues.
import {
  OmniQError,
  type DependencyOutcome,
  type QueueCancelState,
  type QueueSettings,
  type RemoveState,
  type RetryState,
  type StoredTaskState,
} from "@omniq/core";
import { sound } from "./damage.ts";
import { keyHolder, takeKey } from "./deduplication.ts";
import { refill, stateWhenDue } from "./groups.ts";
import { closeEdge, decide, removeTask } from "./outcomes.ts";
import { active, blocked, cancelled, edgesOf, failed, held, slimColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

/** A task that cannot be read is set aside here, and is then a dead letter. */
function taskById(tx: Transacting, id: string): SlimRow | undefined {
  const find = (): SlimRow | undefined => tx.sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE id = ?`, id);
  const row = find();
  return row === undefined ? undefined : (sound(tx, row) ?? find());
}

export function cancelTasks(tx: Transacting, ids: readonly string[]): QueueCancelState[] {
  return ids.map((id) => {
    const row = taskById(tx, id);
    if (row === undefined || row.state > active) return "unknown";
    if (row.state === active) {
      tx.sql.run("UPDATE {p}_tasks SET cancelling = 1 WHERE seq = ?", row.seq);
      tx.wake.cancelling.push(id);
      return "cancelling";
    }
    decide(tx, row, cancelled);
    return "cancelled";
  });
}

/**
 * Dead letters start a new run: attempts, expiries and start forgotten. Those that depend on others are looked at last, when all that the call
 * retries are live again, whatever the order of the ids.
 */
export function retryTasks(
  tx: Transacting,
  ids: readonly string[],
  outcomes: readonly DependencyOutcome[] = [],
): RetryState[] {
  const given = new Map<string, DependencyOutcome>();
  for (const outcome of outcomes)
    if ((given.get(outcome.taskId)?.run ?? 0) < outcome.run) given.set(outcome.taskId, outcome);
  const dependents: SlimRow[] = [];
  const states = ids.map((id): RetryState => {
    const row = taskById(tx, id);
    if (row === undefined || row.state < failed || row.damaged === 1) return "unknown";
    if (row.unrecorded === 1) return "busy";
    if (row.dedup_key !== null) {
      const holder = keyHolder(tx, row.queue, row.dedup_key);
      if (holder !== undefined && holder !== row.id) return "conflict";
      if (holder === undefined && row.dedup_window === null) takeKey(tx, row.queue, row.dedup_key, row.id, undefined);
    }
    const state = row.edges > 0 ? blocked : stateWhenDue(tx, tx.now, row.group_key, 0);
    tx.sql.run(
      `UPDATE {p}_tasks SET state = ?, run = run + 1, attempt = 0, expiries = 0, started_at = NULL, finished_at = NULL, cancelling = 0,
         run_at = ?, ready_at = ?, slot = 0, error = NULL, progress = NULL WHERE seq = ?`,
      state,
      tx.now,
      tx.now,
      row.seq,
    );
    if (state === blocked) dependents.push(row);
    if (state === held && row.group_key !== null) refill(tx, row.queue, row.group_key);
    tx.wake.tasks = true;
    return "retried";
  });
  for (const row of dependents) waitAgain(tx, row, given);
  return states;
}

/** It waits for those of its dependencies that are live, takes a given outcome of a later run than its own, and keeps what it has of the rest. */
function waitAgain(tx: Transacting, row: SlimRow, given: ReadonlyMap<string, DependencyOutcome>): void {
  const { sql } = tx;
  let pending = 0;
  for (const edge of edgesOf(sql, row.seq)) {
    const live = sql.get<{ seq: number }>(
      "SELECT seq FROM {p}_tasks WHERE id = ? AND (state < 5 OR unrecorded = 1)",
      edge.parent_id,
    );
    if (live !== undefined) {
      pending++;
      sql.run("UPDATE {p}_dependencies SET status = NULL WHERE child = ? AND position = ?", row.seq, edge.position);
      sql.run("UPDATE {p}_tasks SET dependents = 1 WHERE seq = ? AND dependents = 0", live.seq);
      continue;
    }
    const outcome = given.get(edge.parent_id);
    if (outcome === undefined || (edge.status !== null && outcome.run <= (edge.run ?? 0))) continue;
    closeEdge(tx, row.seq, edge.position, {
      ...outcome,
      value: outcome.value ?? null,
      error: outcome.error ?? null,
    });
  }
  const state = pending > 0 ? blocked : stateWhenDue(tx, tx.now, row.group_key, 0);
  sql.run("UPDATE {p}_tasks SET state = ?, pending = ? WHERE seq = ?", state, pending, row.seq);
  if (state === held && row.group_key !== null) refill(tx, row.queue, row.group_key);
}

export function removeTasks(tx: Transacting, ids: readonly string[]): RemoveState[] {
  return ids.map((id) => {
    const row = taskById(tx, id);
    if (row === undefined) return freeId(tx, id) ? "freed" : "unknown";
    if (row.state === active || row.unrecorded === 1) return "busy";
    removeTask(tx, row, "free");
    return "removed";
  });
}

/** An id that is only remembered is forgotten. What is known of its last settlement stays, so that a repeated one is told so. */
function freeId(tx: Transacting, id: string): boolean {
  return (
    tx.sql.run(
      `UPDATE {p}_past SET known_until = 0, gone_at = iif(status IS NULL, mark_until, NULL)
       WHERE task_id = ? AND known_until > ? AND NOT EXISTS (SELECT 1 FROM {p}_tasks WHERE id = task_id)`,
      id,
      tx.now,
    ) > 0
  );
}

const purgeable: Readonly<Record<string, string>> = {
  blocked: "state = 0",
  scheduled: "(state = 1 AND run_at > ?)",
  ready: "(state IN (2, 3) OR (state = 1 AND run_at <= ?))",
  failed: "(state = 5 AND unrecorded = 0)",
};

/** The condition of a purge; each `?` in it is now. Throws `OMNIQ_INVALID_OPTION` for states that can't be purged. */
export function purgeCondition(states: readonly StoredTaskState[]): string {
  const conditions = states.map((state) => {
    const condition = Object.hasOwn(purgeable, state) ? purgeable[state] : undefined;
    if (condition === undefined) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `Tasks in the state "${state}" can't be purged; blocked, scheduled, ready and failed can`,
      );
    }
    return condition;
  });
  return conditions.length === 0 ? "0" : `(${[...new Set(conditions)].join(" OR ")})`;
}

/** One step of a purge: at most `limit` tasks after `seq`, none after `lastSeq`. */
export function purgeStep(
  tx: Transacting,
  queue: string,
  condition: string,
  after: number,
  lastSeq: number,
  limit: number,
): { readonly removed: number; readonly after: number | undefined } {
  const text = `SELECT ${slimColumns} FROM {p}_tasks WHERE queue = ? AND seq > ? AND seq <= ? AND ${condition} ORDER BY seq LIMIT ?`;
  const times = Array.from(condition.matchAll(/\?/g), () => tx.now);
  const rows = tx.sql.all<SlimRow>(text, queue, after, lastSeq, ...times, limit);
  let removed = 0;
  for (const row of rows) {
    // A task removed before it in this step may have failed a blocked one, whose outcome must then be recorded first.
    const now = row.state === blocked ? taskById(tx, row.id) : (sound(tx, row) ?? taskById(tx, row.id));
    if (now === undefined || now.unrecorded === 1) continue;
    removeTask(tx, now, "free");
    removed++;
  }
  return { removed, after: rows.length < limit ? undefined : rows.at(-1)?.seq };
}

export function setPaused(tx: Transacting, queue: string, paused: boolean): void {
  tx.sql.run(
    "INSERT INTO {p}_queues (name, paused) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET paused = excluded.paused",
    queue,
    paused ? 1 : 0,
  );
  if (!paused) tx.wake.tasks = true;
}

export function configure(tx: Transacting, queue: string, settings: QueueSettings): void {
  const { sql } = tx;
  sql.run("INSERT OR IGNORE INTO {p}_queues (name) VALUES (?)", queue);
  if (settings.maxActive !== undefined)
    sql.run("UPDATE {p}_queues SET max_active = ? WHERE name = ?", settings.maxActive, queue);
  if (settings.deadLetterTtlMs !== undefined)
    sql.run("UPDATE {p}_queues SET dead_ttl = ? WHERE name = ?", settings.deadLetterTtlMs, queue);
  if (settings.rateLimit === null) {
    sql.run("UPDATE {p}_queues SET rate_limit = NULL, rate_window = NULL, rate_arrival = NULL WHERE name = ?", queue);
  } else if (settings.rateLimit !== undefined) {
    const { limit, windowMs } = settings.rateLimit;
    sql.run("UPDATE {p}_queues SET rate_limit = ?, rate_window = ? WHERE name = ?", limit, windowMs, queue);
  }
  tx.wake.tasks = true;
}
