// Enqueueing: each call all or none, duplicates and deduplicated tasks answered, dependencies looked up.
import type { EnqueueAnswer, EnqueueCall, EnqueueReceipt, NewTask } from "@omniq/core";
import { sound } from "./damage.ts";
import { deduplicate, takeKey, timesOf } from "./deduplication.ts";
import { appendEvents } from "./event-rows.ts";
import { refill, stateWhenDue } from "./groups.ts";
import { closeEdge, failDependent, unblock, type Ending } from "./outcomes.ts";
import { blocked, failed, held, slimColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

interface Stored {
  readonly task: NewTask;
  readonly seq: number;
}

export function enqueueAll(tx: Transacting, calls: readonly EnqueueCall[]): EnqueueAnswer[] {
  return calls.map((call) => enqueueCall(tx, call));
}

function enqueueCall(tx: Transacting, call: EnqueueCall): EnqueueAnswer {
  // Only unknown dependencies undo a call that is under way.
  const mayFail = call.tasks.some((task) => task.dependencies !== undefined && task.dependencies.length > 0);
  if (!mayFail) return { state: "accepted", receipts: storeTasks(tx, call).receipts };
  tx.sql.run("SAVEPOINT omniq_enqueue");
  const { receipts, stored } = storeTasks(tx, call);
  const unknown = linkDependencies(tx, call, receipts, stored);
  if (unknown.length > 0) tx.sql.run("ROLLBACK TO omniq_enqueue");
  tx.sql.run("RELEASE omniq_enqueue");
  return unknown.length > 0 ? { state: "unknown-dependencies", taskIds: unknown } : { state: "accepted", receipts };
}

function storeTasks(
  tx: Transacting,
  call: EnqueueCall,
): { readonly receipts: EnqueueReceipt[]; readonly stored: Stored[] } {
  const receipts: EnqueueReceipt[] = [];
  const stored: Stored[] = [];
  const queues = new Set<string>();
  for (const task of call.tasks) {
    const receipt = isKnown(tx, task.id) ? ({ id: task.id, state: "duplicate" } as const) : deduplicate(tx, task);
    if (receipt !== undefined) {
      receipts.push(receipt);
      continue;
    }
    if (!queues.has(task.queue)) {
      queues.add(task.queue);
      tx.sql.run("INSERT OR IGNORE INTO {p}_queues (name) VALUES (?)", task.queue);
    }
    stored.push({ task, seq: insertTask(tx, task) });
    receipts.push({ id: task.id, state: "enqueued" });
  }
  if (call.events !== undefined && call.events.length > 0 && stored.length > 0) {
    const fresh = new Set(stored.map(({ task }) => task.id));
    appendEvents(
      tx,
      call.events.filter((event) => fresh.has(event.taskId)),
    );
  }
  return { receipts, stored };
}

function isKnown(tx: Transacting, id: string): boolean {
  return (
    tx.sql.get(
      "SELECT 1 AS known FROM {p}_tasks WHERE id = ? UNION ALL SELECT 1 FROM {p}_past WHERE task_id = ? AND known_until > ?",
      id,
      id,
      tx.now,
    ) !== undefined
  );
}

function insertTask(tx: Transacting, task: NewTask): number {
  const { runAt, expiresAt, expiresIn } = timesOf(task, tx.now);
  const dependencies = task.dependencies?.length ?? 0;
  const groupKey = task.group?.key ?? null;
  const state = dependencies > 0 ? blocked : stateWhenDue(tx, runAt, groupKey, 0);
  const { rowid } = tx.sql.insert(
    `INSERT INTO {p}_tasks (id, queue, name, state, priority, ready_at, run_at, enqueued_at, expires_at, expires_in, max_attempts, result_ttl,
       remember_ms, edges, pending, dedup_key, dedup_window, group_key, group_limit, envelope, payload)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    task.id,
    task.queue,
    task.name,
    state,
    task.priority,
    runAt,
    runAt,
    tx.now,
    expiresAt,
    expiresIn,
    task.maxAttempts,
    task.resultTtlMs,
    task.rememberMs,
    dependencies,
    dependencies,
    task.deduplicate?.key ?? null,
    task.deduplicate?.windowMs ?? null,
    groupKey,
    task.group?.limit ?? null,
    task.envelope,
    task.payload,
  );
  if (state === held && groupKey !== null) refill(tx, task.queue, groupKey);
  if (task.deduplicate !== undefined) takeKey(tx, task.queue, task.deduplicate.key, task.id, task.deduplicate.windowMs);
  tx.wake.tasks = true;
  return rowid;
}

/** Gives the dependencies that the queue does not know. */
function linkDependencies(
  tx: Transacting,
  call: EnqueueCall,
  receipts: readonly EnqueueReceipt[],
  stored: readonly Stored[],
): string[] {
  const { sql } = tx;
  // A task of the same call that was deduplicated stands for the key's holder.
  const ids = new Map(call.tasks.map((task, index) => [task.id, receipts[index]?.id ?? task.id]));
  const unknown = new Set<string>();
  for (const { task, seq } of stored) {
    const dependencies = task.dependencies ?? [];
    let pending = 0;
    let failure: { readonly parentId: string; readonly ending: Ending } | undefined;
    for (const [position, dependency] of dependencies.entries()) {
      const parentId = ids.get(dependency.taskId) ?? dependency.taskId;
      sql.run(
        "INSERT INTO {p}_dependencies (child, position, parent_id, may_fail) VALUES (?, ?, ?, ?)",
        seq,
        position,
        parentId,
        dependency.onFailure === "run" ? 1 : 0,
      );
      const { outcome } = dependency;
      let ending: Ending | undefined;
      if (outcome !== undefined) {
        ending = { ...outcome, value: outcome.value ?? null, error: outcome.error ?? null };
      } else {
        const find = (): SlimRow | undefined =>
          sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE id = ?`, parentId);
        const found = find();
        const parent = found === undefined ? undefined : (sound(tx, found) ?? find());
        if (parent === undefined) {
          unknown.add(dependency.taskId);
          continue;
        }
        if (parent.state === failed && parent.unrecorded === 0) ending = endingOfDeadLetter(parent);
        else sql.run("UPDATE {p}_tasks SET dependents = 1 WHERE seq = ? AND dependents = 0", parent.seq);
      }
      if (ending === undefined) {
        pending++;
        continue;
      }
      closeEdge(tx, seq, position, ending);
      if (ending.status !== "completed" && dependency.onFailure === "fail") failure ??= { parentId, ending };
    }
    if (unknown.size > 0 || dependencies.length === 0) continue;
    sql.run("UPDATE {p}_tasks SET pending = ? WHERE seq = ?", pending, seq);
    if (pending > 0 && failure === undefined) continue;
    const child = sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE seq = ?`, seq);
    if (child === undefined) continue;
    if (failure !== undefined) failDependent(tx, child, failure.parentId, failure.ending.status);
    else unblock(tx, child);
  }
  return [...unknown];
}

function endingOfDeadLetter(parent: SlimRow): Ending {
  return {
    status: "failed",
    run: parent.run,
    attempt: parent.attempt,
    finishedAt: parent.finished_at ?? 0,
    value: null,
    error: parent.error,
  };
}
