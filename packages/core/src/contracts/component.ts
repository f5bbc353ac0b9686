// What every component has in common: what it is, which backend it belongs to, how it is closed, how lists are paged.

/** Options that every verb takes. An aborted call rejects with the signal's reason; what was sent may still take effect. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Who can share a component: only this process, every process of this host, or anything on the network. */
export type Reach = "process" | "host" | "network";

/** What all four components say of themselves. */
export interface ComponentCapabilities {
  /** What was acknowledged survives the death of the process (`enqueue-durable`). */
  readonly durable: boolean;
  /** Waiters are woken by the backend; `false` means that it polls. */
  readonly push: boolean;
  readonly reach: Reach;
}

/**
 * A component: a task queue, a result storage, an event storage or a schedule storage.
 *
 * - `close`: idempotent, lets go of everything, ends waits, within two seconds also where the backend is away or does not answer. Verbs
 *   called afterwards reject with `OMNIQ_CLOSED`.
 * - `outage`: while the backend is away, calls reject with `OMNIQ_BACKEND_UNAVAILABLE` (retryable) or wait; when it is back, work goes on
 *   with nothing lost. A call that was sent and not answered may have taken effect: it is sent again where that is harmless (the same ids,
 *   tokens, revisions), or rejects with `OMNIQ_OUTCOME_UNKNOWN` (retryable).
 * - `damaged-item`: an item that cannot be read hides no other. A result is then given as `failed` with `OMNIQ_ITEM_DAMAGED` ({@link QueueError}),
 *   an event is left out, a schedule is listed as paused with what can be read, and each can be deleted. The backend reports it.
 * - `isolation`: components of two prefixes, schemas or folders never see each other.
 * - `hostile-input`: every string that core lets through (well-formed Unicode; ids, names and keys of 1 to 255 bytes without NUL) comes
 *   back as it was, and is never interpreted.
 *
 * @typeParam Kind - which of the four it is.
 */
export interface Component<Kind extends ComponentKind> extends AsyncDisposable {
  readonly component: Kind;
  /** The same object for components that can settle together in one atomic step. */
  readonly backend: object;
  close(): Promise<void>;
}
export type ComponentKind = "task-queue" | "result-storage" | "event-storage" | "schedule-storage";

/** One page of a list. `next` is there when more may follow. Pages are stable: what is listed once is not listed again. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly next?: string | undefined;
}

/**
 * `cursor` is a page's `next`, for the same filter. `limit` is 1 to 1,000, default 100. A cursor of another list, or of the same list
 * with another filter, is `OMNIQ_INVALID_OPTION`.
 */
export interface PageRequest {
  readonly cursor?: string | undefined;
  readonly limit?: number | undefined;
}
