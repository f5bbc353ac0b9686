// The result storage contract: one terminal outcome for each run of a task.
import type { CallOptions, Component, ComponentCapabilities, Page, PageRequest } from "./component.ts";

export type ResultStatus = "completed" | "failed" | "cancelled" | "expired";

export interface NewResult {
  readonly taskId: string;
  readonly run: number;
  readonly attempt: number;
  readonly name: string;
  readonly queue: string;
  readonly status: ResultStatus;
  /** The output, serialized. */
  readonly value?: string | undefined;
  /** The error, serialized. */
  readonly error?: string | undefined;
  /** Default: the store's clock. */
  readonly finishedAt?: number | undefined;
  /** Counted from `finishedAt`; more than 0; `null` keeps it for ever. */
  readonly ttlMs: number | null;
}

export interface StoredResult extends Omit<NewResult, "ttlMs"> {
  readonly finishedAt: number;
  readonly expiresAt: number | null;
}

/** `run` is the lowest run whose result will do. */
export interface ResultReference {
  readonly taskId: string;
  readonly run: number;
}

export interface ResultFilter {
  readonly queue?: string | undefined;
  readonly name?: string | undefined;
  readonly status?: ResultStatus | undefined;
}

/**
 * The result storage.
 *
 * - `result-first-wins`: `put` stores a result if none is there or the stored one is of a lower run, and answers with the one that stands.
 * - `result-wait`: waiters wake soon after a result is there.
 * - `result-expiry`: a result is gone (for every verb) from `expiresAt` on.
 */
export interface ResultStorage extends Component<"result-storage"> {
  readonly capabilities: ResultStorageCapabilities;
  put(results: readonly NewResult[], options?: CallOptions): Promise<readonly StoredResult[]>;
  get(ids: readonly string[], options?: CallOptions): Promise<readonly (StoredResult | undefined)[]>;
  /** Resolves as soon as at least one is there, with all that are, or after `waitMs` with none. */
  wait(references: readonly ResultReference[], waitMs: number, options?: CallOptions): Promise<readonly StoredResult[]>;
  delete(ids: readonly string[], options?: CallOptions): Promise<void>;
  /** In a stable order of the storage's own. */
  list(filter: ResultFilter, page: PageRequest, options?: CallOptions): Promise<Page<StoredResult>>;
  /** Removes at most about `limit` expired results. Says how many. */
  sweep(limit: number, options?: CallOptions): Promise<number>;
}
export interface ResultStorageCapabilities extends ComponentCapabilities {
  readonly maxValueBytes: number;
  readonly maxBatch: number;
}
