// The records of a concurrent run: what each process asked, what it was told, and when.
import type { Dependency, DependencyOutcome, NewResult, StoredResult } from "@omniq/core";

/** Times are epoch milliseconds with fractions by one clock for all processes (`performance.timeOrigin + performance.now()`). */
export interface Timed {
  readonly process: string;
  readonly sentAt: number;
  readonly answeredAt: number;
}

export interface RecordedTask {
  readonly id: string;
  readonly queue: string;
  readonly priority?: number | undefined;
  readonly runAt?: number | undefined;
  readonly maxAttempts?: number | undefined;
  readonly group?: { readonly key: string; readonly limit: number } | undefined;
  readonly dependencies?: readonly Dependency[] | undefined;
}

export interface RecordedLease {
  readonly taskId: string;
  readonly queue: string;
  readonly token: string;
  readonly run: number;
  readonly attempt: number;
  readonly dependencies?: readonly Pick<DependencyOutcome, "taskId" | "status">[] | undefined;
}

/** One call and its answer. A call whose process died before the answer is not recorded, or as `lost-answer`. */
export type HistoryRecord = Timed &
  (
    | {
        readonly verb: "enqueue";
        readonly task: RecordedTask;
        readonly receipt: "enqueued" | "duplicate" | "deduplicated" | "replaced" | "extended" | "lost-answer";
      }
    | {
        readonly verb: "reserve";
        readonly queues: readonly string[];
        readonly limit: number;
        readonly leaseMs: number;
        readonly leases: readonly RecordedLease[];
      }
    | {
        readonly verb: "extend";
        readonly taskId: string;
        readonly token: string;
        readonly leaseMs: number;
        readonly state: "held" | "cancelling" | "lost";
      }
    | {
        readonly verb: "settle";
        readonly taskId: string;
        readonly token: string;
        readonly run: number;
        readonly outcome: "completed" | "failed" | "cancelled" | "retry" | "release";
        readonly state: "settled" | "lost" | "lost-answer";
      }
    | { readonly verb: "pause"; readonly queue: string }
    | { readonly verb: "resume"; readonly queue: string }
    | { readonly verb: "cancel"; readonly taskId: string; readonly state: string }
    | { readonly verb: "retry"; readonly taskId: string; readonly state: string }
    | { readonly verb: "remove"; readonly taskId: string; readonly state: string }
    | {
        readonly verb: "put";
        readonly result: Pick<NewResult, "taskId" | "run" | "value">;
        readonly stands: Pick<StoredResult, "run" | "value">;
      }
    /** The ids of all tasks that are in the queue at the end, when everything is quiet. */
    | { readonly verb: "remaining"; readonly taskIds: readonly string[] }
  );

/** A rule that did not hold, and the records that show it. */
export interface Violation {
  readonly rule: string;
  readonly message: string;
}
