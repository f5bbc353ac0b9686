// Looking at tasks: get, list, counts and unrecorded outcomes, as they are at a time, without changing anything.
import type {
  Page,
  PageRequest,
  QueueCounts,
  StoredTask,
  StoredTaskState,
  TaskFilter,
  UnrecordedOutcome,
} from "@omniq/core";
import { checkKnown, cutPage, listKey, pageLimit, readCursor } from "./page.ts";
import { hasSettings, type QueueRecord, type ReplicaState, type TaskRecord } from "./state.ts";

/** The state of a task at a time: what is due shows as ready. An expiry shows once the queue has decided it, in every verb alike. */
export function stateAt(task: TaskRecord, at: number): StoredTaskState {
  return task.state === "scheduled" && task.runAt <= at ? "ready" : task.state;
}

export function describeTask(task: TaskRecord, at: number): StoredTask {
  const described: { -readonly [K in keyof StoredTask]: StoredTask[K] } = {
    id: task.id,
    name: task.name,
    queue: task.queue.name,
    payload: task.payload,
    envelope: task.envelope,
    priority: task.priority,
    maxAttempts: task.maxAttempts,
    resultTtlMs: task.resultTtlMs,
    state: stateAt(task, at),
    run: task.run,
    attempt: task.attempt,
    expiries: task.expiries,
    enqueuedAt: task.enqueuedAt,
    runAt: task.runAt,
    cancelling: task.cancelling,
  };
  if (task.expiresAt !== undefined) described.expiresAt = task.expiresAt;
  if (task.startedAt !== undefined) described.startedAt = task.startedAt;
  if (task.finishedAt !== undefined) described.finishedAt = task.finishedAt;
  if (task.deduplication !== undefined) described.deduplicationKey = task.deduplication.key;
  if (task.group !== undefined) described.group = task.group;
  if (task.dependencies !== undefined) described.dependencies = task.dependencies.map(({ taskId }) => taskId);
  if (task.progress !== undefined) described.progress = task.progress;
  if (task.error !== undefined) described.error = task.error;
  return described;
}

export function getTasks(state: ReplicaState, ids: readonly string[], at: number): readonly (StoredTask | undefined)[] {
  return ids.map((id) => {
    const task = state.tasks.get(id);
    return task === undefined ? undefined : describeTask(task, at);
  });
}

export const taskStates: ReadonlySet<unknown> = new Set<StoredTaskState>([
  "blocked",
  "scheduled",
  "ready",
  "active",
  "failed",
  "cancelled",
  "expired",
]);

export function listTasks(state: ReplicaState, filter: TaskFilter, page: PageRequest, at: number): Page<StoredTask> {
  const limit = pageLimit(page);
  checkKnown("state of tasks", filter.states, taskStates);
  const key = listKey("t", filter);
  const after = readCursor(key, page.cursor);
  const tasks = filter.queue === undefined ? state.order : state.queues.get(filter.queue)?.tasks;
  const { name, states } = filter;
  return cutPage(
    tasks?.after(after) ?? [],
    limit,
    (task) =>
      (name === undefined || task.name === name) && (states === undefined || states.includes(stateAt(task, at))),
    (task) => describeTask(task, at),
    (task) => `${key}${task.sequence}`,
  );
}

const noTasks: QueueCounts = { blocked: 0, scheduled: 0, ready: 0, active: 0, failed: 0, unrecorded: 0, paused: false };

export function countTasks(
  state: ReplicaState,
  names: readonly string[] | undefined,
  at: number,
): Readonly<Record<string, QueueCounts>> {
  const asked =
    names ??
    [...state.queues.values()].filter((queue) => queue.tasks.size > 0 || hasSettings(queue)).map(({ name }) => name);
  return Object.fromEntries(
    asked.map((name) => {
      const queue = state.queues.get(name);
      return [name, queue === undefined ? noTasks : countQueue(queue, at)];
    }),
  );
}

/** Active tasks whose cancel was asked for. */
export function cancellingTasks(state: ReplicaState): string[] {
  return [...state.order.after(0)].filter((task) => task.state === "active" && task.cancelling).map(({ id }) => id);
}

/** The kept counts, corrected by what fell due since the last upkeep; only that is visited. */
function countQueue(queue: QueueRecord, at: number): QueueCounts {
  let due = 0;
  queue.due.visit(
    (entry) => entry.at <= at,
    () => due++,
  );
  const { blocked, scheduled, ready, active, failed, unrecorded } = queue.counts;
  return { blocked, scheduled: scheduled - due, ready: ready + due, active, failed, unrecorded, paused: queue.paused };
}

export function listUnrecorded(state: ReplicaState, limit: number): readonly UnrecordedOutcome[] {
  const outcomes: UnrecordedOutcome[] = [];
  for (const task of state.unrecorded.values()) {
    if (outcomes.length >= limit) break;
    outcomes.push({
      taskId: task.id,
      run: task.run,
      attempt: task.attempt,
      name: task.name,
      queue: task.queue.name,
      status: task.state as "failed" | "cancelled" | "expired",
      ...(task.error === undefined ? {} : { error: task.error }),
      finishedAt: task.finishedAt ?? 0,
      resultTtlMs: task.resultTtlMs,
    });
  }
  return outcomes;
}
