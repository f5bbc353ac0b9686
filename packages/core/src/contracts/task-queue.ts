// The task queue contract: live tasks and dead letters, leases, and everything that decides who may start what and when.
import type { CallOptions, Component, ComponentCapabilities, Page, PageRequest } from "./component.ts";
import type { NewEvent } from "./event-storage.ts";
import type { ResultStatus } from "./result-storage.ts";

/** A dependency of a task: a task that is live, in the same call, or (with `outcome`) already over. */
export interface Dependency {
  readonly taskId: string;
  /** What the dependent does when it did not complete: become a dead letter, or run all the same. */
  readonly onFailure: "fail" | "run";
  /** Given by core for a task that has left the queue: its stored result. */
  readonly outcome?: DependencyOutcome | undefined;
}

/** How a dependency ended; delivered with the dependent's lease, so that results that are not kept still flow. */
export interface DependencyOutcome {
  readonly taskId: string;
  readonly run: number;
  readonly attempt: number;
  readonly status: ResultStatus;
  readonly value?: string | undefined;
  readonly error?: string | undefined;
  readonly finishedAt: number;
}

export type DeduplicationMode = "keep" | "replace" | "extend";

/** A task as core hands it over; core has checked every limit. Times are epoch milliseconds by the store's clock. */
export interface NewTask {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  /** Opaque text. */
  readonly payload: string;
  /** Core's own text (retry policy, timeout, headers). Opaque, like the payload. */
  readonly envelope: string;
  /** Integer, -1000 to 1000, higher first. */
  readonly priority: number;
  readonly maxAttempts: number;
  /** At most one of `runAt` and `delayMs` (counted from the enqueue). A `runAt` in the past is now. */
  readonly runAt?: number | undefined;
  readonly delayMs?: number | undefined;
  /** At most one of `expiresAt` and `expiresInMs` (counted from the time at which the task is due). Counts until the first start. */
  readonly expiresAt?: number | undefined;
  readonly expiresInMs?: number | undefined;
  /** How long the result is kept from completion; 0 none, `null` for ever. */
  readonly resultTtlMs: number | null;
  /** How long the id stays known after the task has left the queue; 0: it is free at once. */
  readonly rememberMs: number;
  /** With `windowMs` the key is held for exactly that long from the latest call that took or moved it; without, while the task is live. */
  readonly deduplicate?:
    | { readonly key: string; readonly windowMs?: number | undefined; readonly mode: DeduplicationMode }
    | undefined;
  readonly group?: { readonly key: string; readonly limit: number } | undefined;
  /** Never together with `deduplicate.mode` `replace` or `extend`. No cycles; each task once. */
  readonly dependencies?: readonly Dependency[] | undefined;
}

/** Tasks that are stored all or none. `events` are appended with them, each only if its task's receipt is `enqueued`. */
export interface EnqueueCall {
  readonly tasks: readonly NewTask[];
  /** Only for an event storage of the same backend. */
  readonly events?: readonly NewEvent[] | undefined;
  /**
   * The ids of all its tasks were made for this call: nobody else knows them, and it is sent again only within `rememberMs`, when an answer did
   * not come. They are the same tasks however often they are sent, but a queue need not look whether it has them: it may answer `enqueued` each time.
   */
  readonly generatedIds?: boolean | undefined;
}

/**
 * - `enqueued`: stored. - `duplicate`: the id is known; nothing changed.
 * - `deduplicated`: the key is held; `id` is the holder's. - `replaced`, `extended`: the waiting holder was changed; `id` is the holder's.
 */
export interface EnqueueReceipt {
  readonly id: string;
  readonly state: "enqueued" | "duplicate" | "deduplicated" | "replaced" | "extended";
}

/** One call's answer: a receipt for each task, in order, or the dependencies that the queue does not know, nothing being stored. */
export type EnqueueAnswer =
  | { readonly state: "accepted"; readonly receipts: readonly EnqueueReceipt[] }
  | { readonly state: "unknown-dependencies"; readonly taskIds: readonly string[] };

export interface ReserveOptions extends CallOptions {
  /**
   * Where an adapter can, it gives what it leased to this at once, in the turn in which the answer comes, and then resolves with none: an idle
   * worker starts a task some turns sooner. Leases come one way or the other, never both: whoever wraps a queue watches both. It must not throw.
   */
  readonly onLeases?: ((leases: readonly Lease[]) => void) | undefined;
}

export interface EnqueueOptions extends CallOptions {
  /** A transaction of the user's; only where `capabilities.transactions` is not `false`. */
  readonly transaction?: unknown;
}

/** Where a stored task is. `cancelled` and `expired` are seen only until the outcome is recorded. */
export type StoredTaskState = "blocked" | "scheduled" | "ready" | "active" | "failed" | "cancelled" | "expired";

export interface StoredTask {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly payload: string;
  readonly envelope: string;
  readonly priority: number;
  readonly maxAttempts: number;
  readonly resultTtlMs: number | null;
  readonly state: StoredTaskState;
  /** 1 + the number of times that it was retried from a dead letter. */
  readonly run: number;
  /** Attempts charged so far in this run; the current one included while active. */
  readonly attempt: number;
  /** Leases of this run that ran out. */
  readonly expiries: number;
  readonly enqueuedAt: number;
  /** When it is or was due. */
  readonly runAt: number;
  readonly expiresAt?: number | undefined;
  /** The first start of this run. A release of the first attempt takes it back: the task has not started. */
  readonly startedAt?: number | undefined;
  /** When it became `failed`, `cancelled` or `expired`. */
  readonly finishedAt?: number | undefined;
  readonly cancelling: boolean;
  readonly deduplicationKey?: string | undefined;
  readonly group?: { readonly key: string; readonly limit: number } | undefined;
  /** What it still waits for and what it has waited for, in the order given. */
  readonly dependencies?: readonly string[] | undefined;
  readonly progress?: string | undefined;
  /** The latest attempt's error. */
  readonly error?: string | undefined;
}

export interface LeaseReference {
  readonly taskId: string;
  readonly queue: string;
  readonly token: string;
  readonly run: number;
  readonly attempt: number;
}

/** Exclusive, temporary ownership of one task. */
export interface Lease extends LeaseReference {
  readonly task: StoredTask;
  /** By the store's clock. */
  readonly deadline: number;
  /** `performance.now()` when the claiming command was sent; core adds `leaseMs` for its own deadline. */
  readonly sentAt: number;
  readonly cancelling: boolean;
  /** How its dependencies ended, in the order given. */
  readonly dependencies: readonly DependencyOutcome[];
}

export interface ReserveRequest {
  /** In the order in which they are drained. */
  readonly queues: readonly string[];
  readonly limit: number;
  readonly leaseMs: number;
  /** How long to wait when nothing is ready; 0 answers at once. */
  readonly waitMs: number;
  /** The worker's name, for people who look. */
  readonly worker: string;
  /** `bounded-bytes`: about how many bytes the leases may have in all; more than 0. Default: no bound. */
  readonly maxBytes?: number | undefined;
}

export interface LeaseExtension extends LeaseReference {
  readonly progress?: string | undefined;
}
export type LeaseState =
  | { readonly state: "held" | "cancelling"; readonly deadline: number }
  | { readonly state: "lost" };

/**
 * The end of a lease.
 *
 * - `completed`, `failed`, `cancelled`: terminal. `value` or `error` goes to the dependents. With `storeResult` the result storage of the
 *   same backend gets the result in the same atomic step (`resultTtlMs` of the task; 0 stores nothing); without, core has stored it.
 *   `failed` makes a dead letter; the others leave the queue.
 * - `retry`: due again after `delayMs`. At `maxAttempts` the queue makes it a dead letter, and with a cancel asked for a cancelled task; both unrecorded.
 * - `release`: ready again at its old place, the attempt refunded. With a cancel asked for, a cancelled task, unrecorded. With `delayMs`
 *   (more than 0) it is `scheduled`, due after that time, and its place is that of its new due time.
 *
 * `events` go to the event storage of the same backend, only if the answer is `settled` and this is the first time.
 */
export type Settlement = LeaseReference & { readonly events?: readonly NewEvent[] | undefined } & (
    | {
        readonly outcome: "completed" | "failed" | "cancelled";
        readonly storeResult: boolean;
        readonly value?: string | undefined;
        readonly error?: string | undefined;
      }
    | { readonly outcome: "retry"; readonly delayMs: number; readonly error: string }
    | { readonly outcome: "release"; readonly delayMs?: number | undefined }
  );
export type SettleState = "settled" | "lost";

/** An outcome that the queue decided by itself and whose result is not stored yet. */
export interface UnrecordedOutcome {
  readonly taskId: string;
  readonly run: number;
  readonly attempt: number;
  readonly name: string;
  readonly queue: string;
  readonly status: "failed" | "cancelled" | "expired";
  /** Serialized error; for a failed dependency or a lost lease, one that the queue wrote (see {@link QueueError}). */
  readonly error?: string | undefined;
  readonly finishedAt: number;
  readonly resultTtlMs: number | null;
}

/**
 * The error text that a queue writes when it fails a task by itself: this shape as JSON.
 * `OMNIQ_LEASE_LOST`: its leases ran out too often. `OMNIQ_DEPENDENCY_FAILED`: `taskId` did not complete.
 * `OMNIQ_ITEM_DAMAGED`: what is stored of it cannot be read.
 */
export interface QueueError {
  readonly code: "OMNIQ_LEASE_LOST" | "OMNIQ_DEPENDENCY_FAILED" | "OMNIQ_ITEM_DAMAGED";
  readonly message: string;
  readonly taskId?: string | undefined;
}

/** `undefined` leaves a setting as it is, `null` takes it away. */
export interface QueueSettings {
  /** At most this many active tasks (`queue-limit`). */
  readonly maxActive?: number | null | undefined;
  /**
   * At most `limit` starts in `windowMs`, as a token bucket that is full at first (`rate-limit`). The formula is the virtual
   * scheduling form of GCRA (ITU-T I.371): with `t = max(arrival, now)` and `step = windowMs / limit`,
   * `floor((now + windowMs - t) / step)` may start, and each start moves `arrival` to `t + step`.
   */
  readonly rateLimit?: { readonly limit: number; readonly windowMs: number } | null | undefined;
  /** Dead letters are removed after this time. Default: kept. */
  readonly deadLetterTtlMs?: number | null | undefined;
}

/** Exact numbers. `ready` counts what is due, held back or not; `failed` dead letters; `unrecorded` outcomes of all kinds that wait for `record`. */
export interface QueueCounts {
  readonly blocked: number;
  readonly scheduled: number;
  readonly ready: number;
  readonly active: number;
  readonly failed: number;
  readonly unrecorded: number;
  readonly paused: boolean;
}

export interface TaskFilter {
  readonly queue?: string | undefined;
  readonly name?: string | undefined;
  readonly states?: readonly StoredTaskState[] | undefined;
}

/** `cancelled`: it was waiting. `cancelling`: it is active, and its worker is told. `unknown`: neither (a dead letter, over, never seen). */
export type QueueCancelState = "cancelled" | "cancelling" | "unknown";
/** `conflict`: its deduplication key is taken. `busy`: its outcome is not recorded yet. `unknown`: no dead letter. */
export type RetryState = "retried" | "conflict" | "busy" | "unknown";
/**
 * `removed`: it was there. `freed`: it had left the queue, and its id was remembered. `busy`: it is active, or its outcome is not recorded
 * yet. `unknown`: neither. An id that was removed or freed can be enqueued again at once.
 */
export type RemoveState = "removed" | "freed" | "busy" | "unknown";

export interface RetryOptions extends CallOptions {
  /** Stored results of dependencies that have left the queue; each replaces an outcome of the same task and a lower run. */
  readonly outcomes?: readonly DependencyOutcome[] | undefined;
}

/** What a task queue offers. `false` means that a call which needs it rejects with `OMNIQ_UNSUPPORTED`. */
export interface TaskQueueCapabilities extends ComponentCapabilities {
  /** `async`: `enqueue` takes a transaction; `sync`: `enqueueSync` does too, inside a synchronous transaction. */
  readonly transactions: "async" | "sync" | false;
  readonly priorities: boolean;
  readonly dependencies: boolean;
  readonly deduplication: boolean;
  readonly groups: boolean;
  readonly queueLimits: boolean;
  readonly rateLimits: boolean;
  /** Heartbeats can come from a thread of their own ({@link BackendBase.remote}). */
  readonly remoteHeartbeats: boolean;
  /** UTF-8 bytes; at least 524,288. */
  readonly maxPayloadBytes: number;
  /** How many tasks, leases or ids one call may carry; core cuts. */
  readonly maxBatch: number;
  readonly minimumLeaseMs: number;
}

/**
 * The task queue. All verbs are batch-first, answer in the order asked, and are atomic for each item (for `enqueue`, each call).
 *
 * Delivery
 * - `enqueue-durable`: when `enqueue` resolves, the tasks survive the death of the process (where `capabilities.durable`).
 * - `enqueue-idempotent`: an id that is live, dead, or gone for less than its `rememberMs` is answered `duplicate`, and nothing changes.
 * - `enqueue-atomic`: a call is stored whole or not at all. A dependency on a task that the same call deduplicated points to the holder.
 * - `calls-isolated`: a call that fails does not touch the other calls of the same batch.
 * - `lease-excludes`: at any time at most one lease of a task is current.
 * - `lease-expiry-redelivers`: a task whose lease ran out is due again after a pause of 1 to 1,000 ms (random), its attempt refunded. At the
 *   third expiry of a run (`expiriesLimit`) it becomes a dead letter with `OMNIQ_LEASE_LOST`; unrecorded.
 * - `settle-fenced`: with a token that is not current nothing changes and the answer is `lost`. The same settlement sent again within
 *   ten minutes of its success is `settled`.
 * - `no-early-delivery`: never before `runAt`. `no-late-delivery`: a task that has not started by `expiresAt` is never given, and becomes
 *   `expired`; unrecorded. The queue decides that at the latest when `reserve` of its queue or `sweep` comes by; `get`, `list`, `counts`
 *   and `unrecorded` show it from then on, all alike, and until then as waiting. The same holds for leases that ran out.
 * - `order`: inside a queue by priority (higher first), then by the time at which it became ready (`runAt`; unblocked; retry due), then in
 *   enqueue order. Across queues in the order that the request lists them. `release-refunds`: a released task keeps its place, and if it was the
 *   first attempt `expiresAt` counts again. `snooze`: a release with `delayMs` refunds the attempt too, is due when that time has passed, and
 *   keeps a group's slot as a retry does.
 * - `bounded-bytes`: `reserve` with `maxBytes` stops before payloads and dependencies' values would have more bytes than that in all, but gives
 *   one lease if any could start. What it left is ready, in its place. Characters may be counted in place of bytes.
 * - `wake-up`: a waiting `reserve` returns soon after a task becomes ready.
 * - `self-upkeep`: `reserve` alone, without `sweep`, promotes, expires and redelivers what concerns its queues.
 *
 * Control
 * - `deduplicate`: per queue. While the key is held, `keep` answers `deduplicated`. `replace` changes payload, envelope, priority, attempts,
 *   times and result's time to live of a waiting holder, which keeps its id, enqueue order, group and dependencies; if the holder is
 *   active or over, the new task is enqueued and takes the key. `extend` moves a waiting holder's time, and else answers `deduplicated`.
 *   A holder that is over (a dead letter, cancelled, expired; recorded or not) holds its key only inside a window. One that has passed its
 *   `expiresAt` before it was started holds nothing, in a window neither, whether the queue has decided that yet or not. `replace` of a holder
 *   that waits for its retry forgets attempts, expiries, error, progress and start: the new input has its full attempts.
 * - `cancel-push`: see `onCancel`.
 * - `cancel`, `pause`, `inspect` (`get`, `list` in enqueue order with stable pages, exact `counts`), `dead-letter` (listed, retried, removed).
 * - `group-limit`: a task starts only while its group (per queue) has fewer slots taken than its own limit. Active tasks take a slot; a task
 *   of limit 1 keeps it while it waits for a retry or redelivery. `queue-limit`, `rate-limit`: see {@link QueueSettings}.
 * - `dependencies`: see {@link Dependency}. A dependent is blocked until all that it depends on are over and recorded. If one did not
 *   complete and says `fail`, the dependent becomes a dead letter at attempt 0 with `OMNIQ_DEPENDENCY_FAILED`; unrecorded.
 *   Removing a waiting task counts as cancelled. Retrying a dead letter runs it with the outcomes that stand: it waits again for those of its
 *   dependencies that are live, among them those that the same call retries, and takes the outcomes that the call gives; of the others it
 *   keeps what it had.
 * - `damaged-item`: what is stored of a task and cannot be read (damaged, of a newer version, forged) stops nothing else. The task becomes a
 *   dead letter with `OMNIQ_ITEM_DAMAGED`, recorded, with empty text for what is lost; listed, counted, removed like any other; not retried
 *   (`unknown`). The backend reports it. No other task is lost or held back by it.
 * - `transactional`: tasks enqueued in a user's transaction are there when it commits and never were when it rolls back.
 * - `outcome-recorded`: see `unrecorded` and `record`.
 */
export interface TaskQueue extends Component<"task-queue"> {
  readonly capabilities: TaskQueueCapabilities;
  enqueue(calls: readonly EnqueueCall[], options?: EnqueueOptions): Promise<readonly EnqueueAnswer[]>;
  /** Where `capabilities.transactions` is `sync`: inside the user's own synchronous transaction. */
  enqueueSync?(calls: readonly EnqueueCall[], options: { readonly transaction: unknown }): readonly EnqueueAnswer[];
  /** Up to `limit` leases. An attempt is charged for each. Aborted or closed while it waits, it takes nothing. */
  reserve(request: ReserveRequest, options?: ReserveOptions): Promise<readonly Lease[]>;
  /** Pushes deadlines to now + `leaseMs`, and stores progress. */
  extend(leases: readonly LeaseExtension[], leaseMs: number, options?: CallOptions): Promise<readonly LeaseState[]>;
  settle(settlements: readonly Settlement[], options?: CallOptions): Promise<readonly SettleState[]>;
  /** Both in one round trip, for backends that are faster so. `waitMs` is taken as 0. */
  settleAndReserve?(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options?: CallOptions,
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }>;
  cancel(ids: readonly string[], options?: CallOptions): Promise<readonly QueueCancelState[]>;
  /**
   * Tells the listener of active tasks, of any process, whose cancel was asked for: at once where the backend can push, else within a second.
   * A hint: ids may be missing, repeated or forged, so whoever hears one asks `extend`. Gives what ends it. Never throws, and keeps no process alive.
   */
  onCancel?(listener: (taskIds: readonly string[]) => void): () => void;
  get(ids: readonly string[], options?: CallOptions): Promise<readonly (StoredTask | undefined)[]>;
  list(filter: TaskFilter, page: PageRequest, options?: CallOptions): Promise<Page<StoredTask>>;
  /** Of the queues asked for (zeros for an unknown one), else of all that have tasks, settings or are paused. */
  counts(queues?: readonly string[], options?: CallOptions): Promise<Readonly<Record<string, QueueCounts>>>;
  configureQueue(queue: string, settings: QueueSettings, options?: CallOptions): Promise<void>;
  /** A paused queue accepts tasks and hands out none. */
  pause(queue: string, options?: CallOptions): Promise<void>;
  resume(queue: string, options?: CallOptions): Promise<void>;
  /** Starts a new run of a recorded dead letter: attempts, expiries and start forgotten; ready now. */
  retry(ids: readonly string[], options?: RetryOptions): Promise<readonly RetryState[]>;
  /** Removes waiting tasks and recorded dead letters, without a result, and frees ids that are only remembered. */
  remove(ids: readonly string[], options?: CallOptions): Promise<readonly RemoveState[]>;
  /**
   * `remove` for all tasks of a queue in these states (`blocked`, `scheduled`, `ready`, `failed`; others are `OMNIQ_INVALID_OPTION`), in
   * enqueue order. Says how many it removed; a dependent that the removal of its dependency failed stays, with its outcome unrecorded.
   */
  purge(queue: string, states: readonly StoredTaskState[], options?: CallOptions): Promise<number>;
  /** Outcomes that the queue decided, oldest first. Not leased: several workers may get the same, and storing a result twice is harmless. */
  unrecorded(limit: number, options?: CallOptions): Promise<readonly UnrecordedOutcome[]>;
  /** Says that their results are stored: dependents and keys are let go, cancelled and expired tasks leave. Idempotent. */
  record(outcomes: readonly { readonly taskId: string; readonly run: number }[], options?: CallOptions): Promise<void>;
  /** Upkeep of at most about `limit` tasks: dead leases, due and expired tasks, old dead letters and ids. Says how many it changed. */
  sweep(limit: number, options?: CallOptions): Promise<number>;
}

/** After this many expired leases in one run a task is a dead letter. */
export const expiriesLimit = 3;
/** The longest pause before a task whose lease ran out is due again. */
export const expiryPauseMs = 1_000;
/** A settlement sent again within this time of its own success is `settled`. */
export const settleRepeatMs = 600_000;
