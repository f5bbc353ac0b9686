// Groups: slots are counted on a row of their own, and at most one task that needs a new slot stands in the ready index.
import { held, ready, scheduled, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

interface Placed {
  readonly seq: number;
  readonly priority: number;
  readonly ready_at: number;
  readonly group_limit: number;
}

const placedColumns = "seq, priority, ready_at, group_limit";

/** The state of a task that is due at `runAt`. After `held`, call {@link refill}. */
export function stateWhenDue(tx: Transacting, runAt: number, groupKey: string | null, slot: number): number {
  if (runAt > tx.now) return scheduled;
  return groupKey === null || slot === 1 ? ready : held;
}

/**
 * Puts the group's best task that may start now into the ready index, and takes out what may not or is not the best. One
 * candidate is enough: when it is taken, the next one takes its place. So the index never holds what a full group keeps back, and the
 * cost does not grow with the group's backlog: the best of each limit is the first of its index range.
 */
export function refill(tx: Transacting, queue: string, key: string): boolean {
  const { sql } = tx;
  const stored = sql.get<{ slots: number }>("SELECT slots FROM {p}_groups WHERE queue = ? AND key = ?", queue, key);
  const slots = stored === undefined ? 0 : isCount(stored.slots) ? stored.slots : recount(tx, queue, key);
  const candidate = sql.get<Placed>(
    `SELECT ${placedColumns} FROM {p}_tasks WHERE queue = ? AND group_key = ? AND state = 2 AND slot = 0 AND group_key IS NOT NULL`,
    queue,
    key,
  );
  let best: Placed | undefined;
  for (let limit = slots; ;) {
    const next = sql.get<{ least: number | null }>(
      "SELECT min(group_limit) AS least FROM {p}_tasks WHERE state = 3 AND queue = ? AND group_key = ? AND group_limit > ?",
      queue,
      key,
      limit,
    )?.least as number;
    // A number that was damaged, or that JavaScript rounds, must not be met for ever.
    if (!Number.isSafeInteger(next) || (next as number) <= limit) break;
    const first = sql.get<Placed>(
      `SELECT ${placedColumns} FROM {p}_tasks WHERE state = 3 AND queue = ? AND group_key = ? AND group_limit = ?
       ORDER BY priority DESC, ready_at, seq LIMIT 1`,
      queue,
      key,
      next,
    );
    if (first !== undefined && (best === undefined || isBefore(first, best))) best = first;
    limit = next;
  }
  const stays =
    candidate !== undefined && candidate.group_limit > slots && (best === undefined || isBefore(candidate, best));
  if (stays) return false;
  if (candidate !== undefined) sql.run("UPDATE {p}_tasks SET state = 3 WHERE seq = ?", candidate.seq);
  if (best === undefined) return false;
  sql.run("UPDATE {p}_tasks SET state = 2 WHERE seq = ?", best.seq);
  tx.wake.tasks = true;
  return true;
}

function isBefore(one: Placed, other: Placed): boolean {
  if (one.priority !== other.priority) return one.priority > other.priority;
  if (one.ready_at !== other.ready_at) return one.ready_at < other.ready_at;
  return one.seq < other.seq;
}

export function takeSlot(tx: Transacting, queue: string, key: string): void {
  // The bound keeps a number that was damaged from failing the statement.
  tx.sql.run(
    `INSERT INTO {p}_groups (queue, key, slots) VALUES (?, ?, 1)
     ON CONFLICT (queue, key) DO UPDATE SET slots = min(slots, ${mostSlots}) + 1`,
    queue,
    key,
  );
}

/** More than any group has. */
const mostSlots = 1e9;

function isCount(slots: unknown): boolean {
  return Number.isInteger(slots) && (slots as number) >= 0 && (slots as number) < mostSlots;
}

/** Counts the slots of a group anew, from its tasks. Gives the number. */
function recount(tx: Transacting, queue: string, key: string): number {
  const counted = tx.sql.get<{ n: number }>(
    "SELECT count(*) AS n FROM {p}_tasks WHERE slot = 1 AND queue = ? AND group_key = ?",
    queue,
    key,
  );
  const slots = counted?.n ?? 0;
  tx.sql.run("UPDATE {p}_groups SET slots = ? WHERE queue = ? AND key = ?", slots, queue, key);
  tx.sql.run("DELETE FROM {p}_groups WHERE queue = ? AND key = ? AND slots <= 0", queue, key);
  return slots;
}

/** Puts a group right whose number of slots is not that of its tasks. */
export function repairGroup(tx: Transacting, queue: string, key: string, slots: unknown): void {
  if (recount(tx, queue, key) !== slots) refill(tx, queue, key);
}

/** Gives back the slot of a task that had one; the caller has written `slot = 0` or deleted the task. */
export function leaveGroup(tx: Transacting, row: Pick<SlimRow, "queue" | "group_key" | "slot">): void {
  if (row.group_key === null) return;
  if (row.slot === 1) {
    tx.sql.run("UPDATE {p}_groups SET slots = max(slots - 1, 0) WHERE queue = ? AND key = ?", row.queue, row.group_key);
    tx.sql.run("DELETE FROM {p}_groups WHERE queue = ? AND key = ? AND slots <= 0", row.queue, row.group_key);
  }
  refill(tx, row.queue, row.group_key);
}
