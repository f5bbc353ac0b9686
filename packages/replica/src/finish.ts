// How a task ends: outcomes that a worker reports, outcomes that the queue decides and that wait to be recorded, and leaving the queue.
import type { DependencyOutcome, QueueError, ResultStatus } from "@omniq/core";
import { resolveDependents } from "./dependencies.ts";
import { isLate, isWaiting, releaseKey } from "./deduplication.ts";
import { freeSlot, setTaskState, unplace } from "./placement.ts";
import { dropEntry, isIdleQueue, type Moment, type ReplicaState, type TaskRecord } from "./state.ts";

/** Takes a lease from a task. */
export function endLease(task: TaskRecord): void {
  task.lease = undefined;
  dropEntry(task, "leaseEntry");
}

/** Ends a task in the name of the queue: its outcome stays, unrecorded, until its result is stored. */
export function finishUnrecorded(
  state: ReplicaState,
  task: TaskRecord,
  status: "failed" | "cancelled" | "expired",
  moment: Moment,
  error?: string,
): void {
  // What had expired holds its key no longer, whatever it ends as.
  if (moment.rules >= 2 && isWaiting(task) && isLate(task, moment.at)) releaseKey(task, moment);
  stopTask(state, task);
  setTaskState(task, status);
  task.finishedAt = moment.at;
  if (error !== undefined) task.error = error;
  task.unrecorded = true;
  task.queue.counts.unrecorded++;
  state.unrecorded.set(task.id, task);
}

/** Ends a task whose outcome is stored: dependents are told, its key is let go, and it leaves unless it is a dead letter. */
export function finishRecorded(
  state: ReplicaState,
  task: TaskRecord,
  status: ResultStatus,
  moment: Moment,
  texts: { readonly value?: string | undefined; readonly error?: string | undefined },
  remember: boolean = true,
): void {
  stopTask(state, task);
  task.finishedAt = moment.at;
  if (status === "failed") {
    setTaskState(task, "failed");
    if (texts.error !== undefined) task.error = texts.error;
    keepDeadLetter(task);
  }
  const outcome = outcomeOf(task, status, moment.at, texts);
  if (status !== "failed") leave(state, task, moment, remember);
  else releaseKey(task, moment);
  resolveDependents(state, task, outcome, moment);
}

/** Closes an outcome that the queue had decided. */
export function recordOutcome(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  task.unrecorded = false;
  task.queue.counts.unrecorded--;
  state.unrecorded.delete(task.id);
  const status = task.state as "failed" | "cancelled" | "expired";
  const outcome = outcomeOf(task, status, task.finishedAt ?? moment.at, { error: task.error });
  if (status === "failed") {
    keepDeadLetter(task);
    releaseKey(task, moment);
  } else leave(state, task, moment);
  resolveDependents(state, task, outcome, moment);
}

/** Takes a task out of its queue; its id stays known for `rememberMs`, or is free at once. */
export function leave(state: ReplicaState, task: TaskRecord, moment: Moment, remember: boolean = true): void {
  dropEntry(task, "deadEntry");
  releaseKey(task, moment);
  task.gone = true;
  state.tasks.delete(task.id);
  task.queue.counts[task.state]--;
  task.queue.tasks.removed();
  state.order.removed();
  if (remember && task.rememberMs > 0) {
    const until = moment.at + task.rememberMs;
    state.remembered.set(task.id, until);
    state.forgetting.push({ at: until, id: task.id });
  }
  if (isIdleQueue(task.queue)) state.queues.delete(task.queue.name);
}

/** How a task ended, for those who depend on it. */
export function outcomeOf(
  task: TaskRecord,
  status: ResultStatus,
  finishedAt: number,
  texts: { readonly value?: string | undefined; readonly error?: string | undefined },
): DependencyOutcome {
  return {
    taskId: task.id,
    run: task.run,
    attempt: task.attempt,
    status,
    ...(texts.value === undefined ? {} : { value: texts.value }),
    ...(texts.error === undefined ? {} : { error: texts.error }),
    finishedAt,
  };
}

/** The error text that a queue writes by itself. */
export function queueError(code: QueueError["code"], message: string, taskId?: string): string {
  return JSON.stringify({ code, message, ...(taskId === undefined ? {} : { taskId }) });
}

/** Takes a task from wherever it waits or runs. */
export function stopTask(state: ReplicaState, task: TaskRecord): void {
  unplace(state, task);
  endLease(task);
  freeSlot(state, task);
  dropEntry(task, "expiryEntry");
  // Someone may be held back by the limit of active tasks.
  if (task.state === "active") state.journal.queues.add(task.queue.name);
}

function keepDeadLetter(task: TaskRecord): void {
  task.deadEntry = { at: task.finishedAt ?? 0, task };
  task.queue.deadLetters.push(task.deadEntry);
}
