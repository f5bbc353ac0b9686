// Checkpoints: the whole state as plain data, for JSON, and back. What can be derived (orders, heaps, counts) is derived, so that it can't disagree.
import { OmniQError } from "@omniq/core";
import type { NewEvent, StoredResult, StoredSchedule } from "@omniq/core";
import { addEvent } from "./events.ts";
import { watchExpiry } from "./enqueue.ts";
import { makeReady, schedule } from "./placement.ts";
import { checkSnapshot } from "./sound-snapshot.ts";
import {
  createState,
  newestRules,
  openQueue,
  type KeyHold,
  type QueueRecord,
  type ReplicaState,
  type SettledToken,
  type TaskRecord,
} from "./state.ts";
import { watchLease } from "./upkeep.ts";

/** The version of the data, which is that of the rules: whoever goes on from it must know them. A state written by a newer one is refused. */
export const snapshotVersion: number = newestRules;

type Derived =
  | "queue"
  | "dependents"
  | "place"
  | "dueEntry"
  | "leaseEntry"
  | "expiryEntry"
  | "deadEntry"
  | "gone"
  | "holdsSlot";
interface TaskSnapshot extends Omit<TaskRecord, Derived> {
  readonly queue: string;
  readonly holdsSlot: boolean;
}
interface QueueSnapshot extends Pick<
  QueueRecord,
  "name" | "paused" | "maxActive" | "rateLimit" | "deadLetterTtlMs" | "arrival"
> {
  readonly keys: readonly (readonly [string, KeyHold])[];
}
/** A state as plain data: what JSON gives back of it means the same. */
export interface StateSnapshot {
  readonly version: number;
  readonly at: number;
  readonly eventTtlMs: number;
  readonly nextSequence: number;
  readonly draws: number;
  readonly queues: readonly QueueSnapshot[];
  readonly tasks: readonly TaskSnapshot[];
  readonly unrecorded: readonly string[];
  readonly remembered: readonly (readonly [string, number])[];
  readonly settled: readonly SettledToken[];
  readonly results: { readonly nextSequence: number; readonly items: readonly (readonly [number, StoredResult])[] };
  readonly events: { readonly nextSequence: number; readonly items: readonly (readonly [number, NewEvent])[] };
  readonly schedules: { readonly revision: number; readonly items: readonly StoredSchedule[] };
}

/** The state as plain data. It shares parts with the state, so make it text before the state changes. */
export function encodeState(state: ReplicaState): StateSnapshot {
  return {
    version: snapshotVersion,
    at: state.at,
    eventTtlMs: state.eventTtlMs,
    nextSequence: state.nextSequence,
    draws: state.draws,
    queues: [...state.queues.values()].map(
      ({ name, paused, maxActive, rateLimit, deadLetterTtlMs, arrival, keys }) => ({
        name,
        paused,
        maxActive,
        rateLimit,
        deadLetterTtlMs,
        arrival,
        keys: [...keys],
      }),
    ),
    tasks: [...state.order.after(0)].map(encodeTask),
    unrecorded: [...state.unrecorded.keys()],
    remembered: [...state.remembered],
    settled: [...state.settled.values()],
    results: {
      nextSequence: state.results.nextSequence,
      items: [...state.results.order.after(0)].map(({ sequence, result }) => [sequence, result] as const),
    },
    events: {
      nextSequence: state.events.nextSequence,
      items: [...state.events.order.after(0)].map(({ sequence, event }) => [sequence, event] as const),
    },
    schedules: { revision: state.schedules.revision, items: [...state.schedules.byId.values()] },
  };
}

function encodeTask(task: TaskRecord): TaskSnapshot {
  const { dependents, place, dueEntry, leaseEntry, expiryEntry, deadEntry, gone, queue, ...kept } = task;
  return { ...kept, queue: queue.name };
}

/** The state that {@link encodeState} gave. A newer version is `OMNIQ_ADAPTER_INCOMPATIBLE`, anything else `OMNIQ_BACKEND_FAILED`. */
export function decodeState(saved: unknown): ReplicaState {
  const snapshot = saved as StateSnapshot | undefined;
  if (typeof snapshot?.version !== "number") {
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      "A checkpoint is damaged: it has no version; restore the store from a backup",
    );
  }
  if (snapshot.version > snapshotVersion) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `The store was written by a newer OmniQ (format ${snapshot.version}, this one reads ${snapshotVersion}); update this process`,
    );
  }
  checkSnapshot(snapshot);
  const state = createState({ eventTtlMs: snapshot.eventTtlMs });
  state.at = snapshot.at;
  state.nextSequence = snapshot.nextSequence;
  state.draws = snapshot.draws;
  for (const saved of snapshot.queues) {
    const queue = openQueue(state, saved.name);
    queue.paused = saved.paused;
    queue.maxActive = saved.maxActive;
    queue.rateLimit = saved.rateLimit;
    queue.deadLetterTtlMs = saved.deadLetterTtlMs;
    queue.arrival = saved.arrival;
    for (const [key, { taskId, until }] of saved.keys) {
      queue.keys.set(key, { taskId, until });
      if (until !== undefined) state.lapsing.push({ at: until, queue: queue.name, key });
    }
  }
  decodeTasks(state, snapshot);
  for (const [id, until] of snapshot.remembered) {
    state.remembered.set(id, until);
    state.forgetting.push({ at: until, id });
  }
  for (const settled of snapshot.settled) state.settled.set(settled.token, settled);
  decodeOthers(state, snapshot);
  state.journal.queues.clear();
  return state;
}

function decodeTasks(state: ReplicaState, snapshot: StateSnapshot): void {
  for (const saved of snapshot.tasks) {
    const queue = openQueue(state, saved.queue);
    const task = restoreTask(saved, queue, snapshot.at);
    queue.counts[task.state]++;
    if (task.unrecorded) queue.counts.unrecorded++;
    state.tasks.set(task.id, task);
    state.order.push(task);
    queue.tasks.push(task);
    if (task.group !== undefined && task.holdsSlot) {
      const group = queue.groups.get(task.group.key);
      if (group === undefined)
        queue.groups.set(task.group.key, { key: task.group.key, slots: 1, waiting: new Map(), offer: undefined });
      else group.slots++;
    }
    if (task.lease !== undefined) watchLease(task, task.lease.deadline);
    if (task.state === "failed" && !task.unrecorded) {
      task.deadEntry = { at: task.finishedAt ?? 0, task };
      queue.deadLetters.push(task.deadEntry);
    }
  }
  for (const task of state.order.after(0)) {
    if (task.state === "ready") makeReady(state, task, task.readyAt);
    else if (task.state === "scheduled") schedule(state, task);
    if (task.state === "ready" || task.state === "scheduled" || task.state === "blocked") watchExpiry(task);
    for (const { taskId, outcome } of task.dependencies ?? []) {
      if (outcome !== undefined) continue;
      const target = state.tasks.get(taskId);
      if (target !== undefined) (target.dependents ??= []).push(task);
    }
  }
  for (const id of snapshot.unrecorded) {
    const task = state.tasks.get(id);
    if (task !== undefined) state.unrecorded.set(id, task);
  }
}

/** Written out, so that every task has the same fields in the same order, whether it was enqueued or restored (one hidden class). */
function restoreTask(saved: TaskSnapshot, queue: QueueRecord, at: number): TaskRecord {
  return {
    sequence: saved.sequence,
    id: saved.id,
    name: saved.name,
    queue,
    payload: saved.payload,
    envelope: saved.envelope,
    priority: saved.priority,
    maxAttempts: saved.maxAttempts,
    resultTtlMs: saved.resultTtlMs,
    rememberMs: saved.rememberMs,
    state: saved.state,
    run: saved.run,
    attempt: saved.attempt,
    expiries: saved.expiries,
    enqueuedAt: saved.enqueuedAt,
    runAt: saved.runAt ?? at,
    readyAt: saved.readyAt ?? at,
    expiresAt: saved.expiresAt,
    startedAt: saved.startedAt,
    finishedAt: saved.finishedAt,
    cancelling: saved.cancelling,
    deduplication:
      saved.deduplication === undefined
        ? undefined
        : { key: saved.deduplication.key, windowMs: saved.deduplication.windowMs },
    group: saved.group,
    dependencies: saved.dependencies?.map(({ taskId, onFailure, outcome }) => ({ taskId, onFailure, outcome })),
    dependents: undefined,
    progress: saved.progress,
    error: saved.error,
    lease: saved.lease,
    holdsSlot: saved.holdsSlot,
    unrecorded: saved.unrecorded,
    damaged: saved.damaged ?? false,
    gone: false,
    place: undefined,
    dueEntry: undefined,
    leaseEntry: undefined,
    expiryEntry: undefined,
    deadEntry: undefined,
  };
}

function decodeOthers(state: ReplicaState, snapshot: StateSnapshot): void {
  const { results, events, schedules } = state;
  results.nextSequence = snapshot.results.nextSequence;
  for (const [sequence, result] of snapshot.results.items) {
    const record = { sequence, result, gone: false };
    results.byTask.set(result.taskId, record);
    results.order.push(record);
    if (result.expiresAt !== null) results.expiring.push({ at: result.expiresAt, record });
  }
  events.nextSequence = snapshot.events.nextSequence;
  for (const [sequence, event] of snapshot.events.items) addEvent(events, { sequence, event, gone: false });
  schedules.revision = snapshot.schedules.revision;
  for (const schedule of snapshot.schedules.items) schedules.byId.set(schedule.id, schedule);
}
