// Deduplication keys: who holds one, and for how long.
import type { NewTask } from "@omniq/core";
import type { Moment, QueueRecord, ReplicaState, TaskRecord } from "./state.ts";

/** Who holds a key: the id, and the task where it is in the queue. */
export interface KeyHolder {
  readonly taskId: string;
  readonly task: TaskRecord | undefined;
}

/** Who holds a key of a queue at a time. A holder that is over holds it only inside a window, one that expired not even there. */
export function keyHolder(
  state: ReplicaState,
  queue: QueueRecord | undefined,
  key: string,
  { at, rules }: Moment,
): KeyHolder | undefined {
  const hold = queue?.keys.get(key);
  if (hold === undefined || (hold.until !== undefined && hold.until <= at)) return undefined;
  const { taskId } = hold;
  const task = state.tasks.get(taskId);
  if (task === undefined || rules < 2) return { taskId, task };
  // Its id was freed and stands for another task now.
  if (task.queue !== queue || task.deduplication?.key !== key) return { taskId, task: undefined };
  if (task.state === "expired" || (isWaiting(task) && isLate(task, at))) return undefined;
  const over = task.state === "failed" || task.state === "cancelled";
  return over && hold.until === undefined ? undefined : { taskId, task };
}

/** True for a task that has passed its expiry before its first start. */
export function isLate(task: TaskRecord, at: number): boolean {
  return task.expiresAt !== undefined && task.startedAt === undefined && task.expiresAt <= at;
}

/** Gives a key to a task: for a window, or while the task is live. */
export function takeKey(
  state: ReplicaState,
  queue: QueueRecord,
  taskId: string,
  deduplicate: { readonly key: string; readonly windowMs?: number | undefined },
  at: number,
): void {
  const until = deduplicate.windowMs === undefined ? undefined : at + deduplicate.windowMs;
  queue.keys.set(deduplicate.key, { taskId, until });
  if (until !== undefined) state.lapsing.push({ at: until, queue: queue.name, key: deduplicate.key });
}

/** Lets a task's key go when the task is over. A window goes on to its end, unless the task has expired. */
export function releaseKey(task: TaskRecord, { at, rules }: Moment): void {
  if (task.deduplication === undefined) return;
  const hold = task.queue.keys.get(task.deduplication.key);
  if (hold?.taskId !== task.id) return;
  const expired = rules >= 2 && (task.state === "expired" || (isWaiting(task) && isLate(task, at)));
  if (hold.until === undefined || expired) task.queue.keys.delete(task.deduplication.key);
}

/** What a key makes of a new task: nothing (it takes the key), or an answer about the holder. */
export function judgeKey(
  deduplicate: NonNullable<NewTask["deduplicate"]>,
  holder: { readonly waiting: boolean } | undefined,
): "enqueued" | "deduplicated" | "replaced" | "extended" {
  if (holder === undefined) return "enqueued";
  if (deduplicate.mode === "keep") return "deduplicated";
  if (deduplicate.mode === "replace") return holder.waiting ? "replaced" : "enqueued";
  return holder.waiting ? "extended" : "deduplicated";
}

/** True for a task that has not started, or waits to start again. */
export function isWaiting(task: TaskRecord | undefined): boolean {
  return task !== undefined && (task.state === "blocked" || task.state === "scheduled" || task.state === "ready");
}
