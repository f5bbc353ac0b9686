// What people and clients do to tasks and queues: cancel, retry, remove, purge, record, and the settings of a queue.
import { OmniQError } from "@omniq/core";
import type {
  DependencyOutcome,
  QueueCancelState,
  QueueSettings,
  RemoveState,
  RetryState,
  StoredTaskState,
} from "@omniq/core";
import { isWaiting, keyHolder, takeKey } from "./deduplication.ts";
import { relinkDependencies } from "./dependencies.ts";
import { forgetAttempts, watchExpiry } from "./enqueue.ts";
import { finishRecorded, finishUnrecorded, leave, recordOutcome } from "./finish.ts";
import { stateAt } from "./inspection.ts";
import { makeReady, setTaskState } from "./placement.ts";
import {
  dropEntry,
  hasSettings,
  isIdleQueue,
  openQueue,
  type Moment,
  type QueueRecord,
  type ReplicaState,
  type TaskRecord,
} from "./state.ts";

export function cancelTasks(state: ReplicaState, ids: readonly string[], moment: Moment): readonly QueueCancelState[] {
  return ids.map((id) => {
    const task = state.tasks.get(id);
    if (task?.state === "active") {
      task.cancelling = true;
      state.journal.cancels.add(id);
      return "cancelling";
    }
    if (task === undefined || !isWaiting(task)) return "unknown";
    finishUnrecorded(state, task, "cancelled", moment);
    return "cancelled";
  });
}

export function retryTasks(
  state: ReplicaState,
  ids: readonly string[],
  outcomes: readonly DependencyOutcome[],
  moment: Moment,
): readonly RetryState[] {
  const retried: TaskRecord[] = [];
  const states = ids.map((id): RetryState => {
    const task = state.tasks.get(id);
    const verdict = judgeRetry(state, task, moment);
    if (task === undefined || verdict !== "retried") return verdict;
    startRun(state, task, moment.at);
    // Nobody waits for it while it is blocked by nothing; those that the call retries wait for each other.
    setTaskState(task, "blocked");
    retried.push(task);
    return verdict;
  });
  const given = newestOutcomes(outcomes);
  for (const task of retried) {
    if (moment.rules < 2 || task.dependencies === undefined) makeReady(state, task, moment.at);
    else relinkDependencies(state, task, given, moment);
  }
  return states;
}

function judgeRetry(state: ReplicaState, task: TaskRecord | undefined, moment: Moment): RetryState {
  if (task === undefined) return "unknown";
  if (task.unrecorded) return "busy";
  if (task.state !== "failed" || task.damaged) return "unknown";
  if (task.deduplication === undefined) return "retried";
  const holder = keyHolder(state, task.queue, task.deduplication.key, moment);
  return holder !== undefined && holder.taskId !== task.id ? "conflict" : "retried";
}

/** Forgets the run that ended. */
function startRun(state: ReplicaState, task: TaskRecord, at: number): void {
  if (task.deduplication !== undefined) takeKey(state, task.queue, task.id, task.deduplication, at);
  dropEntry(task, "deadEntry");
  task.run++;
  task.startedAt = undefined;
  task.finishedAt = undefined;
  forgetAttempts(task);
  task.cancelling = false;
  task.runAt = at;
  // Whoever retries it by hand wants it to run, although the time set for its first run is over.
  if (task.expiresAt !== undefined && task.expiresAt <= at) task.expiresAt = undefined;
  watchExpiry(task);
}

/** Of each task the one of the highest run. */
function newestOutcomes(outcomes: readonly DependencyOutcome[]): ReadonlyMap<string, DependencyOutcome> {
  const newest = new Map<string, DependencyOutcome>();
  for (const outcome of outcomes)
    if (outcome.run > (newest.get(outcome.taskId)?.run ?? 0)) newest.set(outcome.taskId, outcome);
  return newest;
}

export function removeTasks(state: ReplicaState, ids: readonly string[], moment: Moment): readonly RemoveState[] {
  return ids.map((id) => removeTask(state, id, moment));
}

function removeTask(state: ReplicaState, id: string, moment: Moment): RemoveState {
  const task = state.tasks.get(id);
  const frees = moment.rules >= 2;
  if (task === undefined) return frees ? freeId(state, id, moment.at) : "unknown";
  if (task.unrecorded || task.state === "active") return "busy";
  if (isWaiting(task)) finishRecorded(state, task, "cancelled", moment, {}, !frees);
  else leave(state, task, moment, !frees);
  return "removed";
}

function freeId(state: ReplicaState, id: string, at: number): RemoveState {
  const until = state.remembered.get(id);
  if (until === undefined) return "unknown";
  state.remembered.delete(id);
  state.forgetting.discarded();
  return until > at ? "freed" : "unknown";
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
