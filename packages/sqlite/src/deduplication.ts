// Deduplication: who holds a key, and what a second task does to the first.
import type { EnqueueReceipt, NewTask } from "@omniq/core";
import { sound } from "./damage.ts";
import { refill, stateWhenDue } from "./groups.ts";
import { active, blocked, held, slimColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

/** When a task is due and when it expires. A `runAt` in the past is now. */
export function timesOf(
  task: NewTask,
  now: number,
): { readonly runAt: number; readonly expiresAt: number | null; readonly expiresIn: number | null } {
  const runAt = task.runAt === undefined ? now + (task.delayMs ?? 0) : Math.max(task.runAt, now);
  const expiresIn = task.expiresInMs ?? null;
  return { runAt, expiresIn, expiresAt: task.expiresAt ?? (expiresIn === null ? null : runAt + expiresIn) };
}

/**
 * Who holds the key now. A holder that is over holds it in its window only; one that passed its expiry before it was started holds nothing,
 * whether that has been decided yet or not. What cannot be read holds nothing.
 */
export function keyHolder(tx: Transacting, queue: string, key: string): string | undefined {
  return tx.sql.get<{ task_id: string }>(
    `SELECT d.task_id FROM {p}_deduplication d LEFT JOIN {p}_tasks t ON t.id = d.task_id
     WHERE d.queue = ? AND d.key = ? AND typeof(d.task_id) = 'text'
       AND iif(d.until IS NULL, t.state < 5, typeof(d.until) = 'integer' AND d.until > ?)
       AND NOT coalesce(t.state = 7 OR (t.state < 4 AND t.started_at IS NULL AND t.expires_at <= ?), 0)`,
    queue,
    key,
    tx.now,
    tx.now,
  )?.task_id;
}

export function takeKey(
  tx: Transacting,
  queue: string,
  key: string,
  taskId: string,
  windowMs: number | undefined,
): void {
  tx.sql.run(
    "INSERT OR REPLACE INTO {p}_deduplication (queue, key, task_id, until) VALUES (?, ?, ?, ?)",
    queue,
    key,
    taskId,
    windowMs === undefined ? null : tx.now + windowMs,
  );
}

/** The receipt where the key is held and the task is not enqueued; `undefined` where it is to be, taking the key. */
export function deduplicate(tx: Transacting, task: NewTask): EnqueueReceipt | undefined {
  const given = task.deduplicate;
  if (given === undefined) return undefined;
  const id = keyHolder(tx, task.queue, given.key);
  if (id === undefined) return undefined;
  if (given.mode === "keep") return { id, state: "deduplicated" };
  const holder = sound(tx, tx.sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE id = ?`, id));
  const waits = holder !== undefined && holder.state < active;
  if (!waits) return given.mode === "replace" ? undefined : { id, state: "deduplicated" };
  if (given.mode === "replace") replaceWaiting(tx, holder, task);
  else moveWaiting(tx, holder, task);
  takeKey(tx, task.queue, given.key, id, given.windowMs);
  tx.sql.run("UPDATE {p}_tasks SET dedup_window = ? WHERE seq = ?", given.windowMs ?? null, holder.seq);
  return { id, state: given.mode === "replace" ? "replaced" : "extended" };
}

/** What its earlier input did is forgotten: the new one has its full attempts. */
function replaceWaiting(tx: Transacting, holder: SlimRow, task: NewTask): void {
  const { runAt, expiresAt, expiresIn } = timesOf(task, tx.now);
  tx.sql.run(
    `UPDATE {p}_tasks SET payload = ?, envelope = ?, priority = ?, max_attempts = ?, result_ttl = ?, run_at = ?, expires_at = ?, expires_in = ?,
       attempt = 0, expiries = 0, error = NULL, progress = NULL, started_at = NULL WHERE seq = ?`,
    task.payload,
    task.envelope,
    task.priority,
    task.maxAttempts,
    task.resultTtlMs,
    runAt,
    expiresAt,
    expiresIn,
    holder.seq,
  );
  placeAgain(tx, holder, runAt);
}

function moveWaiting(tx: Transacting, holder: SlimRow, task: NewTask): void {
  const { runAt } = timesOf(task, tx.now);
  const expiresAt = holder.expires_in === null ? holder.expires_at : runAt + holder.expires_in;
  tx.sql.run("UPDATE {p}_tasks SET run_at = ?, expires_at = ? WHERE seq = ?", runAt, expiresAt, holder.seq);
  placeAgain(tx, holder, runAt);
}

/** A blocked task stays blocked; any other takes its place anew. */
function placeAgain(tx: Transacting, holder: SlimRow, runAt: number): void {
  if (holder.state !== blocked) {
    const state = stateWhenDue(tx, runAt, holder.group_key, holder.slot);
    tx.sql.run("UPDATE {p}_tasks SET state = ?, ready_at = ? WHERE seq = ?", state, runAt, holder.seq);
    if (holder.group_key !== null && (state === held || holder.slot === 0)) refill(tx, holder.queue, holder.group_key);
  }
  tx.wake.tasks = true;
}
