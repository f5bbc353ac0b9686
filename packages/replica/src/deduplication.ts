// Deduplication keys: who holds one, and for how long.
import type { NewTask } from "@omniq/core";
import type { KeyHold, QueueRecord, ReplicaState, TaskRecord } from "./state.ts";

/** Who holds a key of a queue at a time. */
export function keyHolder(queue: QueueRecord | undefined, key: string, at: number): KeyHold | undefined {
  const hold = queue?.keys.get(key);
  return hold === undefined || (hold.until !== undefined && hold.until <= at) ? undefined : hold;
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

/** Lets a task's key go when the task is over. A window goes on to its end. */
export function releaseKey(_state: ReplicaState, task: TaskRecord): void {
  if (task.deduplication === undefined) return;
  const hold = task.queue.keys.get(task.deduplication.key);
  if (hold?.taskId === task.id && hold.until === undefined) task.queue.keys.delete(task.deduplication.key);
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
