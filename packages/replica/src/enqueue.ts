// Enqueue: each call is stored whole or not at all; ids, keys and dependencies are judged before anything changes.
import type { Dependency, EnqueueAnswer, EnqueueCall, EnqueueReceipt, NewTask } from "@omniq/core";
import { judgeKey, isWaiting, keyHolder, takeKey } from "./deduplication.ts";
import { linkDependencies } from "./dependencies.ts";
import { appendEvents } from "./events.ts";
import { finishRecorded, queueError } from "./finish.ts";
import { placeByTime, unplace } from "./placement.ts";
import type { ReadTask } from "./read-items.ts";
import {
  dropEntry,
  openQueue,
  type DependencyRecord,
  type Moment,
  type ReplicaState,
  type TaskRecord,
} from "./state.ts";

export function enqueueCalls(
  state: ReplicaState,
  calls: readonly EnqueueCall[],
  moment: Moment,
): readonly EnqueueAnswer[] {
  return calls.map((call) => enqueueCall(state, call, moment));
}

function enqueueCall(state: ReplicaState, call: EnqueueCall, moment: Moment): EnqueueAnswer {
  let aliases: ReadonlyMap<string, string> = new Map();
  if (call.tasks.some((task) => (task.dependencies?.length ?? 0) > 0)) {
    const plan = planCall(state, call, moment);
    if (plan.unknown.length > 0) return { state: "unknown-dependencies", taskIds: plan.unknown };
    aliases = plan.aliases;
  }
  const made: TaskRecord[] = [];
  const receipts = call.tasks.map((task) => enqueueTask(state, task, aliases, made, moment));
  // All of the call are there by now, so that one may depend on another that stands after it.
  for (const task of made) if (task.state === "blocked") linkDependencies(state, task, moment);
  if (call.events !== undefined && call.events.length > 0) {
    const stored = new Set(receipts.filter((receipt) => receipt.state === "enqueued").map((receipt) => receipt.id));
    appendEvents(
      state,
      call.events.filter((event) => stored.has(event.taskId)),
      moment.at,
    );
  }
  return { state: "accepted", receipts };
}

/** True while an id may not be used again. */
function isKnown(state: ReplicaState, id: string, at: number): boolean {
  return state.tasks.has(id) || (state.remembered.get(id) ?? 0) > at;
}

/** What the receipts would be, without storing anything: which ids stand for others, and which dependencies nobody knows. */
function planCall(
  state: ReplicaState,
  call: EnqueueCall,
  moment: Moment,
): { readonly aliases: ReadonlyMap<string, string>; readonly unknown: readonly string[] } {
  const planned = new Set<string>();
  const holders = new Map<string, PlannedHolder | undefined>();
  const aliases = new Map<string, string>();
  for (const task of call.tasks) {
    const { id, queue, deduplicate } = task;
    if (planned.has(id) || isKnown(state, id, moment.at)) continue;
    if (deduplicate !== undefined) {
      const slot = JSON.stringify([queue, deduplicate.key]);
      const holder = holders.has(slot) ? holders.get(slot) : heldNow(state, queue, deduplicate.key, moment);
      const verdict = judgeKey(deduplicate, holder);
      if (holder !== undefined && verdict !== "enqueued") aliases.set(id, holder.taskId);
      const next = verdict === "enqueued" ? { taskId: id, waiting: true, started: false } : holder;
      const counts = verdict !== "deduplicated" && (verdict !== "extended" || holder?.started !== true);
      // Who takes the key, or is moved, with an expiry that is over holds nothing.
      holders.set(slot, counts && moment.rules >= 2 && bornLate(task, moment.at) ? undefined : next);
      if (verdict !== "enqueued") continue;
    }
    planned.add(id);
  }
  const unknown = new Set<string>();
  for (const task of call.tasks) {
    if (!planned.has(task.id)) continue;
    for (const { taskId, outcome } of task.dependencies ?? []) {
      const target = aliases.get(taskId) ?? taskId;
      if (!planned.has(target) && !state.tasks.has(target) && outcome === undefined) unknown.add(target);
    }
  }
  return { aliases, unknown: [...unknown] };
}

interface PlannedHolder {
  readonly taskId: string;
  readonly waiting: boolean;
  readonly started: boolean;
}
function heldNow(state: ReplicaState, queue: string, key: string, moment: Moment): PlannedHolder | undefined {
  const holder = keyHolder(state, state.queues.get(queue), key, moment);
  if (holder === undefined) return undefined;
  const { taskId, task } = holder;
  return { taskId, waiting: isWaiting(task), started: task?.startedAt !== undefined };
}
function bornLate(task: NewTask, at: number): boolean {
  const expiresAt = expiryTime(task, dueTime(task, at));
  return expiresAt !== undefined && expiresAt <= at;
}

function enqueueTask(
  state: ReplicaState,
  task: ReadTask,
  aliases: ReadonlyMap<string, string>,
  made: TaskRecord[],
  moment: Moment,
): EnqueueReceipt {
  const { at } = moment;
  if (isKnown(state, task.id, at)) return { id: task.id, state: "duplicate" };
  const { deduplicate } = task;
  if (deduplicate !== undefined) {
    const hold = keyHolder(state, state.queues.get(task.queue), deduplicate.key, moment);
    const holder = hold?.task;
    const verdict = judgeKey(deduplicate, hold === undefined ? undefined : { waiting: isWaiting(holder) });
    if (hold !== undefined && verdict === "deduplicated") return { id: hold.taskId, state: verdict };
    if (holder !== undefined && (verdict === "replaced" || verdict === "extended")) {
      changeHolder(state, holder, task, verdict, moment);
      takeKey(state, holder.queue, holder.id, deduplicate, at);
      return { id: holder.id, state: verdict };
    }
  }
  const record = createTask(state, task, aliases, at);
  if (deduplicate !== undefined) takeKey(state, record.queue, record.id, deduplicate, at);
  if (task.damaged) {
    setAside(state, record, moment);
    return { id: task.id, state: "enqueued" };
  }
  made.push(record);
  if (record.state !== "blocked") placeByTime(state, record, at);
  return { id: task.id, state: "enqueued" };
}

function dueTime(task: NewTask, at: number): number {
  return Math.max(at, task.runAt ?? at + (task.delayMs ?? 0));
}
function expiryTime(task: NewTask, runAt: number): number | undefined {
  return task.expiresAt ?? (task.expiresInMs === undefined ? undefined : runAt + task.expiresInMs);
}

function createTask(state: ReplicaState, task: NewTask, aliases: ReadonlyMap<string, string>, at: number): TaskRecord {
  const queue = openQueue(state, task.queue);
  const runAt = dueTime(task, at);
  const dependencies = dependencyRecords(task.dependencies ?? [], aliases);
  const record: TaskRecord = {
    sequence: state.nextSequence++,
    id: task.id,
    name: task.name,
    queue,
    payload: task.payload,
    envelope: task.envelope,
    priority: task.priority,
    maxAttempts: task.maxAttempts,
    resultTtlMs: task.resultTtlMs,
    rememberMs: task.rememberMs,
    state: dependencies === undefined ? "ready" : "blocked",
    run: 1,
    attempt: 0,
    expiries: 0,
    enqueuedAt: at,
    runAt,
    readyAt: 0,
    expiresAt: expiryTime(task, runAt),
    startedAt: undefined,
    finishedAt: undefined,
    cancelling: false,
    deduplication:
      task.deduplicate === undefined ? undefined : { key: task.deduplicate.key, windowMs: task.deduplicate.windowMs },
    group: task.group === undefined ? undefined : { key: task.group.key, limit: task.group.limit },
    dependencies,
    dependents: undefined,
    progress: undefined,
    error: undefined,
    lease: undefined,
    holdsSlot: false,
    unrecorded: false,
    damaged: false,
    gone: false,
    place: undefined,
    dueEntry: undefined,
    leaseEntry: undefined,
    expiryEntry: undefined,
    deadEntry: undefined,
  };
  queue.counts[record.state]++;
  watchExpiry(record);
  state.tasks.set(record.id, record);
  state.order.push(record);
  queue.tasks.push(record);
  state.remembered.delete(record.id);
  return record;
}

/** An outcome that core gave counts only where the queue has no such task; linking takes it away from the others. */
function dependencyRecords(
  dependencies: readonly Dependency[],
  aliases: ReadonlyMap<string, string>,
): DependencyRecord[] | undefined {
  if (dependencies.length === 0) return undefined;
  return dependencies.map(({ taskId, onFailure, outcome }) => ({
    taskId: aliases.get(taskId) ?? taskId,
    onFailure,
    outcome,
  }));
}

/** What of a task can be read becomes a dead letter, for people to see and to remove. */
function setAside(state: ReplicaState, task: TaskRecord, moment: Moment): void {
  task.damaged = true;
  state.journal.damagedTasks.add(task.id);
  const error = queueError("OMNIQ_ITEM_DAMAGED", "What is stored of the task cannot be read");
  finishRecorded(state, task, "failed", moment, { error });
}

/** Expiry counts until the first start. */
export function watchExpiry(task: TaskRecord): void {
  dropEntry(task, "expiryEntry");
  if (task.expiresAt === undefined || task.startedAt !== undefined) return;
  task.expiryEntry = { at: task.expiresAt, task };
  task.queue.expiries.push(task.expiryEntry);
}

/** Gives a task its full attempts again. */
export function forgetAttempts(task: TaskRecord): void {
  task.attempt = 0;
  task.expiries = 0;
  task.error = undefined;
  task.progress = undefined;
}

function changeHolder(
  state: ReplicaState,
  holder: TaskRecord,
  task: NewTask,
  how: "replaced" | "extended",
  { at, rules }: Moment,
): void {
  unplace(state, holder);
  const runAt = dueTime(task, at);
  const expiresAt = expiryTime(task, runAt);
  if (how === "replaced") {
    holder.payload = task.payload;
    holder.envelope = task.envelope;
    holder.priority = task.priority;
    holder.maxAttempts = task.maxAttempts;
    holder.resultTtlMs = task.resultTtlMs;
    holder.expiresAt = expiresAt;
    // The new input has its full attempts, although the old one had used some.
    if (rules >= 2) {
      holder.startedAt = undefined;
      forgetAttempts(holder);
    }
  } else if (expiresAt !== undefined) holder.expiresAt = expiresAt;
  holder.runAt = runAt;
  watchExpiry(holder);
  if (holder.state === "blocked") return;
  holder.readyAt = 0;
  placeByTime(state, holder, at);
}
