// The state that commands change: what it keeps of each task, queue and group, and how a new one is made.
import type { Dependency, DependencyOutcome, StoredTaskState } from "@omniq/core";
import { createEventState, type EventState } from "./events.ts";
import { Heap } from "./heap.ts";
import { ReadyOrder, type Place } from "./ready-order.ts";
import { createResultState, type ResultState } from "./results.ts";
import { createScheduleState, type ScheduleState } from "./schedules.ts";
import { SequenceList } from "./sequence-list.ts";

/** A task at a time, in a heap. Wanted while the task still points to it. */
export interface Timed {
  readonly at: number;
  readonly task: TaskRecord;
}

export interface DependencyRecord {
  /** The task that it waits for; the holder, where the named one was deduplicated. */
  readonly taskId: string;
  readonly onFailure: Dependency["onFailure"];
  outcome: DependencyOutcome | undefined;
}

/** Everything that is kept of one task. */
export interface TaskRecord {
  /** Its place in enqueue order. */
  readonly sequence: number;
  readonly id: string;
  readonly name: string;
  readonly queue: QueueRecord;
  payload: string;
  envelope: string;
  priority: number;
  maxAttempts: number;
  resultTtlMs: number | null;
  readonly rememberMs: number;
  state: StoredTaskState;
  run: number;
  attempt: number;
  expiries: number;
  readonly enqueuedAt: number;
  runAt: number;
  /** When it became ready: the second rank of the starting order. */
  readyAt: number;
  expiresAt: number | undefined;
  startedAt: number | undefined;
  finishedAt: number | undefined;
  cancelling: boolean;
  readonly deduplication: { readonly key: string; readonly windowMs: number | undefined } | undefined;
  readonly group: { readonly key: string; readonly limit: number } | undefined;
  dependencies: DependencyRecord[] | undefined;
  /** Tasks that wait for this one. One that was retried may stand here twice. */
  dependents: TaskRecord[] | undefined;
  progress: string | undefined;
  error: string | undefined;
  lease: { readonly token: string; deadline: number; readonly worker: string } | undefined;
  /** Takes a slot of its group. */
  holdsSlot: boolean;
  unrecorded: boolean;
  /** A dead letter because what was stored of it cannot be read; it is not retried. */
  damaged: boolean;
  /** No longer in the queue. */
  gone: boolean;
  /** Where it stands while it is ready. */
  place: Place | undefined;
  dueEntry: Timed | undefined;
  leaseEntry: Timed | undefined;
  expiryEntry: Timed | undefined;
  deadEntry: Timed | undefined;
}

/** One group of one queue. All its ready tasks wait here; the best of those that could start stands in the queue's ready order too. */
export interface GroupRecord {
  readonly key: string;
  slots: number;
  /** By the limit that the tasks carry. */
  readonly waiting: Map<number, ReadyOrder>;
  offer: Place | undefined;
}

/** `until`: held up to then, whatever becomes of the holder; without, while the holder is live. */
export interface KeyHold {
  readonly taskId: string;
  readonly until: number | undefined;
}

export interface QueueRecord {
  readonly name: string;
  readonly tasks: SequenceList<TaskRecord>;
  /** Only tasks that could start now, as far as groups are concerned. */
  readonly ready: ReadyOrder;
  readonly due: Heap<Timed>;
  readonly leases: Heap<Timed>;
  readonly expiries: Heap<Timed>;
  readonly deadLetters: Heap<Timed>;
  readonly groups: Map<string, GroupRecord>;
  readonly keys: Map<string, KeyHold>;
  readonly counts: Record<StoredTaskState | "unrecorded", number>;
  paused: boolean;
  maxActive: number | undefined;
  rateLimit: { readonly limit: number; readonly windowMs: number } | undefined;
  deadLetterTtlMs: number | undefined;
  /** The theoretical arrival time of the rate limit. */
  arrival: number;
}

/** What a command touched, for those who wait. Not part of the state; whoever runs commands empties it. */
export interface Journal {
  readonly queues: Set<string>;
  readonly results: Set<string>;
  /** Active tasks whose cancel was asked for. */
  readonly cancels: Set<string>;
  events: boolean;
  /** What of a log could not be read: ids of tasks, and kinds of things that were left out. */
  readonly damagedTasks: Set<string>;
  readonly unreadable: Set<string>;
}

export interface RememberedId {
  readonly at: number;
  readonly id: string;
}
export interface SettledToken {
  readonly at: number;
  readonly token: string;
  readonly outcome: string;
}
export interface LapsingKey {
  readonly at: number;
  readonly queue: string;
  readonly key: string;
}

/** The state of all four components. Only `apply` changes it. */
export interface ReplicaState {
  /** The time of the latest command. Never runs backward. */
  at: number;
  readonly eventTtlMs: number;
  nextSequence: number;
  draws: number;
  readonly tasks: Map<string, TaskRecord>;
  readonly order: SequenceList<TaskRecord>;
  readonly queues: Map<string, QueueRecord>;
  /** In the order in which they came about. */
  readonly unrecorded: Map<string, TaskRecord>;
  /** Ids of tasks that are gone, and until when they are known. */
  readonly remembered: Map<string, number>;
  readonly forgetting: Heap<RememberedId>;
  readonly settled: Map<string, SettledToken>;
  readonly lapsing: Heap<LapsingKey>;
  readonly results: ResultState;
  readonly events: EventState;
  readonly schedules: ScheduleState;
  readonly journal: Journal;
}

/** What one command knows beside the state: its time, and the seed of its randomness. */
export interface Moment {
  readonly at: number;
  readonly commitId: string;
  /** By which rules it is applied: those of whoever wrote it, so that every version comes to the same state. */
  readonly rules: number;
}

/**
 * The rules of this version; commits and checkpoints carry their number, and an older version refuses a higher one.
 *
 * - 1: the first.
 * - 2: a holder that is over or expired holds no key (but a window); `replace` forgets the attempts of the holder; `remove` frees ids;
 *   `retry` waits for live dependencies; `reserve` stops at `maxBytes`; `release` takes `delayMs`.
 */
export const newestRules = 2;

/** How long events are kept when nothing is said: seven days. */
export const defaultEventTtlMs = 604_800_000;

export function createState(options: { readonly eventTtlMs?: number | undefined } = {}): ReplicaState {
  const remembered = new Map<string, number>();
  const queues = new Map<string, QueueRecord>();
  return {
    at: 0,
    eventTtlMs: options.eventTtlMs ?? defaultEventTtlMs,
    nextSequence: 1,
    draws: 0,
    tasks: new Map(),
    order: new SequenceList(),
    queues,
    unrecorded: new Map(),
    remembered,
    forgetting: new Heap<RememberedId>(
      (a, b) => a.at < b.at,
      (entry) => remembered.get(entry.id) === entry.at,
    ),
    settled: new Map(),
    lapsing: new Heap<LapsingKey>(
      (a, b) => a.at < b.at,
      (entry) => queues.get(entry.queue)?.keys.get(entry.key)?.until === entry.at,
    ),
    results: createResultState(),
    events: createEventState(),
    schedules: createScheduleState(),
    journal: {
      queues: new Set(),
      results: new Set(),
      cancels: new Set(),
      events: false,
      damagedTasks: new Set(),
      unreadable: new Set(),
    },
  };
}

const earlier = (a: Timed, b: Timed): boolean => (a.at === b.at ? a.task.sequence < b.task.sequence : a.at < b.at);

/** The queue of this name, made if there is none. */
export function openQueue(state: ReplicaState, name: string): QueueRecord {
  const known = state.queues.get(name);
  if (known !== undefined) return known;
  const queue: QueueRecord = {
    name,
    tasks: new SequenceList(),
    ready: new ReadyOrder(),
    due: new Heap(earlier, (entry) => entry.task.dueEntry === entry),
    leases: new Heap(earlier, (entry) => entry.task.leaseEntry === entry),
    expiries: new Heap(earlier, (entry) => entry.task.expiryEntry === entry),
    deadLetters: new Heap(earlier, (entry) => entry.task.deadEntry === entry),
    groups: new Map(),
    keys: new Map(),
    counts: { blocked: 0, scheduled: 0, ready: 0, active: 0, failed: 0, cancelled: 0, expired: 0, unrecorded: 0 },
    paused: false,
    maxActive: undefined,
    rateLimit: undefined,
    deadLetterTtlMs: undefined,
    arrival: 0,
  };
  state.queues.set(name, queue);
  return queue;
}

/** True for a queue that has nothing worth keeping. */
export function isIdleQueue(queue: QueueRecord): boolean {
  return queue.tasks.size === 0 && !hasSettings(queue) && queue.keys.size === 0;
}
export function hasSettings(queue: QueueRecord): boolean {
  return (
    queue.paused ||
    queue.maxActive !== undefined ||
    queue.rateLimit !== undefined ||
    queue.deadLetterTtlMs !== undefined
  );
}

/** Gives a timed entry up and tells its heap. */
export function dropEntry(task: TaskRecord, kind: "dueEntry" | "leaseEntry" | "expiryEntry" | "deadEntry"): void {
  if (task[kind] === undefined) return;
  task[kind] = undefined;
  const { due, leases, expiries, deadLetters } = task.queue;
  ({ dueEntry: due, leaseEntry: leases, expiryEntry: expiries, deadEntry: deadLetters })[kind].discarded();
}
