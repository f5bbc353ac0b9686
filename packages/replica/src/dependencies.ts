// Dependencies: who waits for whom, and what happens when one is over.
import type { DependencyOutcome } from "@omniq/core";
import { finishUnrecorded, outcomeOf, queueError } from "./finish.ts";
import { placeByTime } from "./placement.ts";
import type { Moment, ReplicaState, TaskRecord } from "./state.ts";

/** Makes a new task wait for what it depends on, or takes what is over already. */
export function linkDependencies(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  for (const dependency of task.dependencies ?? []) {
    const target = state.tasks.get(dependency.taskId);
    if (target === undefined) continue;
    if (target.state === "failed" && !target.unrecorded) {
      dependency.outcome = outcomeOf(target, "failed", target.finishedAt ?? moment.at, { error: target.error });
    } else {
      dependency.outcome = undefined;
      (target.dependents ??= []).push(task);
    }
  }
  settleBlocked(state, task, moment);
}

/** Tells all that wait for a task how it ended. */
export function resolveDependents(
  state: ReplicaState,
  task: TaskRecord,
  outcome: DependencyOutcome,
  moment: Moment,
): void {
  const dependents = task.dependents;
  if (dependents === undefined) return;
  task.dependents = undefined;
  for (const dependent of dependents) {
    if (dependent.gone) continue;
    for (const dependency of dependent.dependencies ?? []) {
      if (dependency.taskId === task.id && dependency.outcome === undefined) dependency.outcome = outcome;
    }
    settleBlocked(state, dependent, moment);
  }
}

/** Frees or fails a blocked task, if what is known by now decides it. */
function settleBlocked(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  if (task.state !== "blocked") return;
  let waiting = false;
  for (const { taskId, onFailure, outcome } of task.dependencies ?? []) {
    if (outcome === undefined) waiting = true;
    else if (outcome.status !== "completed" && onFailure === "fail") {
      const message = `The task depends on "${taskId}", which did not complete (${outcome.status})`;
      finishUnrecorded(state, task, "failed", moment.at, queueError("OMNIQ_DEPENDENCY_FAILED", message, taskId));
      return;
    }
  }
  if (waiting) return;
  task.readyAt = moment.at;
  placeByTime(state, task, moment.at);
}
