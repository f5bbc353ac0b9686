// The short way of most settlements: plain tasks that completed move from the queue to the past, a whole batch in two statements.
import { settleRepeatMs, type Settlement, type SettleState } from "@omniq/core";
import { appendEvents } from "./event-rows.ts";
import { isStoreFailure } from "./failures.ts";
import { settledMark } from "./settled-mark.ts";
import { seqOf } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

export type Completion = Extract<Settlement, { readonly outcome: "completed" | "failed" | "cancelled" }>;

/** Longer values are not worth being carried as JSON. */
const maxValueLength = 8_192;

/** Whether the short way may be tried. */
export function isShort(settlement: Settlement): settlement is Completion {
  if (settlement.outcome !== "completed") return false;
  const { value } = settlement;
  // SQLite ends text that it takes out of JSON at a NUL.
  return value === undefined || (value.length <= maxValueLength && !value.includes("\0"));
}

/** Whether it can go with the first of a batch. */
export function isLike(first: Completion, settlement: Settlement | undefined): boolean {
  return settlement !== undefined && isShort(settlement) && settlement.storeResult === first.storeResult;
}

// The join holds what makes it short: found by the number in the token, nothing that depends on the task, no group and no key. A row that
// is in the past already, from an earlier run or an earlier task of this id, is left to the long way.
const from = `FROM json_each(?) j CROSS JOIN {p}_tasks t
  WHERE t.seq = j.value ->> 0 AND t.token = j.value ->> 1 AND t.id = j.value ->> 2 AND t.state = 4 AND t.group_key IS NULL
    AND t.dedup_key IS NULL AND t.edges = 0 AND t.dependents = 0`;
const moveWithResult = `INSERT OR IGNORE INTO {p}_past
    (task_id, status, run, attempt, name, queue, finished_at, expires_at, known_until, mark, mark_until, value)
  SELECT t.id, 'completed', t.run, t.attempt, t.name, t.queue, ?, ? + t.result_ttl, ? + t.remember_ms, 'completed:' || t.token, ?,
    j.value ->> 3 ${from} AND t.result_ttl IS NOT 0`;
const moveWithout = `INSERT OR IGNORE INTO {p}_past (task_id, known_until, mark, mark_until, gone_at)
  SELECT t.id, ? + t.remember_ms, 'completed:' || t.token, ?, max(?, ? + t.remember_ms) ${from}`;

/** Settles a batch of {@link isLike} completions, pushing their states; `long` settles those for which the short way is not open. */
export function completeAll(
  tx: Transacting,
  settlements: readonly Completion[],
  states: SettleState[],
  long: (tx: Transacting, settlement: Settlement) => SettleState,
): void {
  const { sql, now, wake } = tx;
  const storeResult = settlements[0]?.storeResult === true;
  const known = now + settleRepeatMs;
  const [[before] = [null]] = sql.rows<[number | null]>("SELECT max(seq) FROM {p}_past");
  const items = JSON.stringify(
    settlements.map(({ token, taskId, value }) => [seqOf(token) ?? -1, token, taskId, value ?? null]),
  );
  let moved = 0;
  try {
    moved = storeResult
      ? sql.run(moveWithResult, now, now, now, known, items)
      : sql.run(moveWithout, now, known, known, now, items);
  } catch (error) {
    // A number that was damaged fails the statement, which then has moved none: the long way finds out whose it is.
    if (isStoreFailure(error)) throw error;
  }
  // New rows have the highest numbers; so those that moved can be told from those that stood there.
  const marks =
    moved === settlements.length
      ? undefined
      : new Set(sql.rows<[string]>("SELECT mark FROM {p}_past WHERE seq > ?", before ?? 0).map(([mark]) => mark));
  const left: number[] = [];
  const rest: { readonly index: number; readonly settlement: Completion }[] = [];
  for (const settlement of settlements) {
    if (marks !== undefined && !marks.delete(settledMark(settlement))) {
      rest.push({ index: states.length, settlement });
      states.push("lost");
      continue;
    }
    left.push(seqOf(settlement.token) ?? -1);
    states.push("settled");
    if (storeResult) wake.results.add(settlement.taskId);
    if (settlement.events !== undefined && settlement.events.length > 0) appendEvents(tx, settlement.events);
  }
  // Before anything else looks at these tasks.
  if (left.length > 0)
    sql.run("DELETE FROM {p}_tasks WHERE seq IN (SELECT value FROM json_each(?))", `[${left.join()}]`);
  for (const { index, settlement } of rest) states[index] = long(tx, settlement);
}
