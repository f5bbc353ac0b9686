// What a dimension is: a thing that a store can hold many of, and operations whose cost must not grow with it.
import type { Backend, Lease, NewTask, Settlement } from "@omniq/core";

/** A store under measurement, and what its dimensions use. */
export interface Store {
  readonly backend: Backend;
  /** Lets a server's planner know what the tables hold, as its upkeep would within minutes. */
  analyze(): Promise<void>;
}

export interface Operation {
  readonly name: string;
  /** At most so many times as dear at the largest size as at the smallest. */
  readonly bound: number;
  /** Does it once, or as often as the number that it gives. */
  run(store: Store): Promise<number>;
}

export interface Dimension {
  readonly name: string;
  /** One line for `--help`. */
  readonly about: string;
  /** The largest size; default 1,000,000. */
  readonly largest?: number;
  /** Adds what lies between the two sizes. */
  grow(store: Store, from: number, to: number): Promise<void>;
  readonly operations: readonly Operation[];
}

const dayMs = 86_400_000;
let made = 0;

/** A plain task with an id that no other has. */
export function newTask(overrides: Partial<NewTask> = {}): NewTask {
  return {
    id: `scale-${process.pid}-${(made += 1)}`,
    name: "work",
    queue: "main",
    payload: '{"n":1,"text":"of the length that a small payload has"}',
    envelope: '{"r":["exponential",1000,4,3600000,0.2],"t":3600000}',
    priority: 0,
    maxAttempts: 5,
    resultTtlMs: dayMs,
    rememberMs: 600_000,
    ...overrides,
  };
}

/** Stores tasks in calls of one task, as many together as the store takes. */
export async function store({ backend }: Store, tasks: Iterable<NewTask>): Promise<void> {
  const queue = backend.taskQueue();
  const size = Math.min(1_000, queue.capabilities.maxBatch);
  for (const part of chunks(tasks, size)) await queue.enqueue(part.map((task) => ({ tasks: [task] })));
}

/** Numbers from `from` to below `to`. */
export function* numbers(from: number, to: number): Generator<number> {
  for (let n = from; n < to; n++) yield n;
}

export function* map<T, U>(items: Iterable<T>, change: (item: T) => U): Generator<U> {
  for (const item of items) yield change(item);
}

export function* chunks<T>(items: Iterable<T>, size: number): Generator<T[]> {
  let part: T[] = [];
  for (const item of items) {
    part.push(item);
    if (part.length === size) {
      yield part;
      part = [];
    }
  }
  if (part.length > 0) yield part;
}

/** Leases of what is ready now. */
export async function take({ backend }: Store, queues: readonly string[], limit: number): Promise<readonly Lease[]> {
  return await backend.taskQueue().reserve({ queues, limit, leaseMs: 600_000, waitMs: 0, worker: "scale" });
}

export function ended(lease: Lease, outcome: "completed" | "failed"): Settlement {
  const { taskId, queue, token, run, attempt } = lease;
  const what = outcome === "failed" ? { error: '{"code":"OMNIQ_TASK_FAILED","message":"as asked"}' } : { value: "1" };
  return { taskId, queue, token, run, attempt, outcome, storeResult: true, ...what };
}

/** Enqueues, takes and completes this many tasks of one queue. */
export async function work(on: Store, count: number, overrides: Partial<NewTask> = {}): Promise<number> {
  await store(
    on,
    map(numbers(0, count), () => newTask(overrides)),
  );
  const leases = await take(on, [overrides.queue ?? "main"], count);
  await on.backend.taskQueue().settle(leases.map((lease) => ended(lease, "completed")));
  return leases.length;
}
