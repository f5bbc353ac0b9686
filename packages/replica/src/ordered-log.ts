// The contract of an ordered log: what a store must offer to be a backend through the replica.

/** A commit as the log keeps it. */
export interface LogEntry {
  /** 1 for the first commit, and one more for each. A server may leave gaps; it never goes back. */
  readonly position: number;
  readonly body: string;
  /** The store's time of the commit, where the store orders and stamps; it then is the commit's time. */
  readonly storedAt?: number | undefined;
}

/**
 * - `stored`: at `position`, durable, and certain to be part of the log. A server that orders may have put it anywhere after `position`.
 * - `taken`: there is a commit at that position already, perhaps this very one (an earlier append whose answer was lost).
 * - `unknown`: it was sent, and the answer was lost. It may be stored, now or later; the same body is appended again at the same position.
 * - `stale`: what this process has applied may no longer be the log's newest part (it slept past a deletion): it opens again.
 */
export type AppendAnswer =
  | { readonly state: "stored"; readonly position: number }
  | { readonly state: "taken" | "unknown" | "stale" };

/** `stale` as for {@link AppendAnswer}; an empty list is certain to be the end of the log at the time of the call. */
export type ReadAnswer =
  | {
      readonly state: "read";
      readonly entries: readonly LogEntry[];
      /** Where positions above the last entry hold no commit: up to which. */
      readonly upTo?: number | undefined;
    }
  | { readonly state: "stale" };

export interface LogCheckpoint {
  /** The last position whose commit the checkpoint holds. */
  readonly position: number;
  /** Its text, which may be longer than a string can be. Where it is cut means nothing: a log may cut it anew. */
  readonly pieces: readonly string[];
}

/**
 * An ordered log of commits with checkpoints. Each obligation is tested under its key by `testOrderedLog` of @omniq/conformance.
 *
 * - `log-append`: appends that are `stored` are durable, whole, and seen by every later `read` and `append` of any process
 *   (linearizable). With `ordering` `position`, an append creates position `n` only if nothing is there; two bodies never stand at
 *   one position. With `server`, the log puts each append after all that were stored before; it never answers `taken`.
 * - `log-read`: from a position on, in order; an empty list is the end of the log. The log decides what it trusts (ages, ghosts,
 *   lost tails) and says `stale` where it does not.
 * - `log-checkpoint`: the newest is read by everyone; an older one changes nothing. Commits at or below the newest checkpoint but one
 *   may be deleted, others never.
 * - `log-wait`: resolves when there may be more, or the signal aborts.
 * - `log-close`: idempotent; other processes go on.
 * - Calls reject with `OMNIQ_BACKEND_UNAVAILABLE` when the store is away; an append that is rejected was not stored and will not be.
 * - Bodies are given as they stand in the log, whoever wrote them: what they mean is for the replica to say. What can't be read at all is an
 *   entry with an empty body. A checkpoint that is damaged is none: the one before it is read.
 */
export interface OrderedLog {
  readonly ordering: "position" | "server";
  append(position: number, body: string): Promise<AppendAnswer>;
  /**
   * Commits from `position` on, in order, as many as suit the store. With `upTo` the caller needs only what is up to there, which is known to
   * have been stored: the log need not make sure of its end, and an empty list then says that nothing up to there is left to read.
   */
  read(position: number, upTo?: number): Promise<ReadAnswer>;
  /** The newest whole checkpoint; with `below` the newest of those before that position. */
  readCheckpoint(below?: number): Promise<LogCheckpoint | undefined>;
  /** Stores a checkpoint unless one of this or a later position is there; may delete what no one needs any more. */
  writeCheckpoint(checkpoint: LogCheckpoint): Promise<void>;
  /** The position of the newest checkpoint, 0 without one. Where it lacks, processes do not look whether another took one. */
  newestCheckpoint?(): Promise<number>;
  /** True if commits are gone that no checkpoint holds, so that no process can start until one that has the state writes a checkpoint. */
  lacksCheckpoint?(): boolean;
  /** How an operator finds a position: `log/00000000000000000007`. Default `Commit 7`. */
  nameOf?(position: number): string;
  /** The store's clock, as well as this process knows it: epoch milliseconds. */
  now(): number;
  /** Resolves when there may be something after `position`, a checkpoint may lack, or the signal aborts. Never rejects. */
  wait(position: number, signal: AbortSignal): Promise<void>;
  /** Where a log is polled: for this long from now on it looks at least so often, since leases are held whose cancel should be heard soon. */
  lookEvery?(ms: number, forMs: number): void;
  close(): Promise<void>;
}
