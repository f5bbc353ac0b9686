// Dependencies: who waits for whom, and what happens when one is over.
import type { DependencyOutcome } from "@omniq/core";
import { finishUnrecorded, outcomeOf, queueError } from "./finish.ts";
import { placeByTime } from "./placement.ts";
import type { DependencyRecord, Moment, ReplicaState, TaskRecord } from "./state.ts";

/** Makes a new task wait for what it depends on, or takes what is over already. */
export function linkDependencies(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  for (const dependency of task.dependencies ?? []) {
    const target = state.tasks.get(dependency.taskId);
    if (target === undefined) continue;
    if (isDeadLetter(target)) dependency.outcome = outcomeOfDeadLetter(target, moment);
    else waitFor(task, dependency, target);
  }
  settleBlocked(state, task, moment);
}

/**
 * Makes a dead letter that is retried wait for those of its dependencies that are live again. Of the others the outcome of the highest run
 * stands, be it one that it had, one that is given, or that of a dead letter; none of those fails it: whoever retries it wants it to run.
 */
export function relinkDependencies(
  state: ReplicaState,
  task: TaskRecord,
  given: ReadonlyMap<string, DependencyOutcome>,
  moment: Moment,
): void {
  for (const dependency of task.dependencies ?? []) {
    const target = state.tasks.get(dependency.taskId);
    if (target !== undefined && !isDeadLetter(target)) {
      waitFor(task, dependency, target);
      continue;
    }
    const dead = target === undefined ? undefined : outcomeOfDeadLetter(target, moment);
    for (const outcome of [given.get(dependency.taskId), dead])
      if (outcome !== undefined && outcome.run > (dependency.outcome?.run ?? 0)) dependency.outcome = outcome;
  }
  settleBlocked(state, task, moment, "");
}

const isDeadLetter = (task: TaskRecord): boolean => task.state === "failed" && !task.unrecorded;
const outcomeOfDeadLetter = (task: TaskRecord, moment: Moment): DependencyOutcome =>
  outcomeOf(task, "failed", task.finishedAt ?? moment.at, { error: task.error });

function waitFor(task: TaskRecord, dependency: DependencyRecord, target: TaskRecord): void {
  dependency.outcome = undefined;
  (target.dependents ??= []).push(task);
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
  // In enqueue order, as a checkpoint restores them; who is retried asks late, and maybe twice.
  dependents.sort((a, b) => a.sequence - b.sequence);
  for (const dependent of dependents) {
    if (dependent.gone) continue;
    for (const dependency of dependent.dependencies ?? []) {
      if (dependency.taskId === task.id && dependency.outcome === undefined) dependency.outcome = outcome;
    }
    settleBlocked(state, dependent, moment, task.id);
  }
}

/** Frees or fails a blocked task, if what is known by now decides it. `decided`: the only dependency whose failure may fail it. */
function settleBlocked(state: ReplicaState, task: TaskRecord, moment: Moment, decided?: string): void {
  if (task.state !== "blocked") return;
  let waiting = false;
  for (const { taskId, onFailure, outcome } of task.dependencies ?? []) {
    if (outcome === undefined) waiting = true;
    else if (outcome.status !== "completed" && onFailure === "fail" && (decided ?? taskId) === taskId) {
      const message = `The task depends on "${taskId}", which did not complete (${outcome.status})`;
      finishUnrecorded(state, task, "failed", moment, queueError("OMNIQ_DEPENDENCY_FAILED", message, taskId));
      return;
    }
  }
  if (waiting) return;
  task.readyAt = moment.at;
  placeByTime(state, task, moment.at);
}
