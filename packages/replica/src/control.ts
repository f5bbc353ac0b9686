// What people and clients do to tasks and queues: cancel, retry, remove, purge, record, and the settings of a queue.
import { OmniQError } from "@omniq/core";
import type { QueueCancelState, QueueSettings, RemoveState, RetryState, StoredTaskState } from "@omniq/core";
import { isWaiting, keyHolder, takeKey } from "./deduplication.ts";
import { watchExpiry } from "./enqueue.ts";
import { finishRecorded, finishUnrecorded, leave, recordOutcome } from "./finish.ts";
import { stateAt } from "./inspection.ts";
import { makeReady } from "./placement.ts";
import {
  dropEntry,
  hasSettings,
  isIdleQueue,
  openQueue,
  type Moment,
  type QueueRecord,
  type ReplicaState,
} from "./state.ts";

export function cancelTasks(state: ReplicaState, ids: readonly string[], moment: Moment): readonly QueueCancelState[] {
  return ids.map((id) => {
    const task = state.tasks.get(id);
    if (task?.state === "active") {
      task.cancelling = true;
      return "cancelling";
    }
    if (task === undefined || !isWaiting(task)) return "unknown";
    finishUnrecorded(state, task, "cancelled", moment.at);
    return "cancelled";
  });
}

export function retryTasks(state: ReplicaState, ids: readonly string[], moment: Moment): readonly RetryState[] {
  return ids.map((id) => {
    const task = state.tasks.get(id);
    if (task === undefined) return "unknown";
    if (task.unrecorded) return "busy";
    if (task.state !== "failed") return "unknown";
    const { deduplication, queue } = task;
    if (deduplication !== undefined) {
      const hold = keyHolder(queue, deduplication.key, moment.at);
      if (hold !== undefined && hold.taskId !== task.id) return "conflict";
      takeKey(state, queue, task.id, deduplication, moment.at);
    }
    dropEntry(task, "deadEntry");
    task.run++;
    task.attempt = 0;
    task.expiries = 0;
    task.startedAt = undefined;
    task.finishedAt = undefined;
    task.error = undefined;
    task.progress = undefined;
    task.cancelling = false;
    task.runAt = moment.at;
    // Whoever retries it by hand wants it to run, although the time set for its first run is over.
    if (task.expiresAt !== undefined && task.expiresAt <= moment.at) task.expiresAt = undefined;
    watchExpiry(task);
    makeReady(state, task, moment.at);
    return "retried";
  });
}

export function removeTasks(state: ReplicaState, ids: readonly string[], moment: Moment): readonly RemoveState[] {
  return ids.map((id) => removeTask(state, id, moment));
}

function removeTask(state: ReplicaState, id: string, moment: Moment): RemoveState {
  const task = state.tasks.get(id);
  if (task === undefined) return "unknown";
  if (task.unrecorded || task.state === "active") return "busy";
  if (isWaiting(task)) finishRecorded(state, task, "cancelled", moment, {});
  else leave(state, task, moment.at);
  return "removed";
}

const purgeable: readonly StoredTaskState[] = ["blocked", "scheduled", "ready", "failed"];

export function purgeQueue(
  state: ReplicaState,
  name: string,
  states: readonly StoredTaskState[],
  moment: Moment,
): number {
  const refused = states.find((each) => !purgeable.includes(each));
  if (refused !== undefined) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `Tasks that are ${refused} can't be purged from queue "${name}"; purge ${purgeable.join(", ")}`,
    );
  }
  const queue = state.queues.get(name);
  if (queue === undefined) return 0;
  const chosen = [...queue.tasks.after(0)].filter((task) => states.includes(stateAt(task, moment.at)));
  let removed = 0;
  for (const task of chosen) if (removeTask(state, task.id, moment) === "removed") removed++;
  return removed;
}

export function recordOutcomes(
  state: ReplicaState,
  outcomes: readonly { readonly taskId: string; readonly run: number }[],
  moment: Moment,
): void {
  for (const { taskId, run } of outcomes) {
    const task = state.unrecorded.get(taskId);
    if (task?.run === run) recordOutcome(state, task, moment);
  }
}

export function configureQueue(state: ReplicaState, name: string, settings: QueueSettings, at: number): void {
  const { maxActive, rateLimit, deadLetterTtlMs } = settings;
  const queue = openQueue(state, name);
  if (maxActive !== undefined) queue.maxActive = maxActive ?? undefined;
  if (deadLetterTtlMs !== undefined) queue.deadLetterTtlMs = deadLetterTtlMs ?? undefined;
  if (rateLimit !== undefined) {
    queue.rateLimit = rateLimit === null ? undefined : { limit: rateLimit.limit, windowMs: rateLimit.windowMs };
    // What was charged under a longer window must not hold the queue back for longer than the new one.
    queue.arrival = rateLimit === null ? 0 : Math.min(queue.arrival, at + rateLimit.windowMs);
  }
  changed(state, queue);
}

export function setPaused(state: ReplicaState, name: string, paused: boolean): void {
  const queue = openQueue(state, name);
  queue.paused = paused;
  changed(state, queue);
}

function changed(state: ReplicaState, queue: QueueRecord): void {
  state.journal.queues.add(queue.name);
  if (!hasSettings(queue) && isIdleQueue(queue)) state.queues.delete(queue.name);
}
