// The schedule storage contract: rules that enqueue tasks, advanced by compare-and-set.
import type { CallOptions, Component, ComponentCapabilities, Page, PageRequest } from "./component.ts";

export interface NewSchedule {
  readonly id: string;
  /** Opaque text: the rule. */
  readonly rule: string;
  /** Opaque text: the task that it enqueues. */
  readonly template: string;
  /** The next occurrence; `null` when there is none. */
  readonly nextAt: number | null;
  /** How many occurrences were enqueued. */
  readonly runs: number;
  readonly paused: boolean;
}
export interface StoredSchedule extends NewSchedule {
  /** Changes with every write. */
  readonly revision: string;
}

/** One schedule to advance: see `advance`. */
export interface ScheduleAdvance {
  readonly id: string;
  readonly revision: string;
  readonly next: { readonly nextAt: number | null; readonly runs: number };
}

/**
 * The schedule storage.
 *
 * - `schedule-once`: `advance` and `put` with a revision change nothing unless the revision is the stored one, so that of any number of
 *   processes one advances; core enqueues first, under an id made of schedule and time, then advances.
 */
export interface ScheduleStorage extends Component<"schedule-storage"> {
  readonly capabilities: ComponentCapabilities;
  /** `revision`: the one to replace, `null` if there must be none, `undefined` for either. The stored schedule, or `undefined` on a conflict. */
  put(
    schedule: NewSchedule,
    revision: string | null | undefined,
    options?: CallOptions,
  ): Promise<StoredSchedule | undefined>;
  get(ids: readonly string[], options?: CallOptions): Promise<readonly (StoredSchedule | undefined)[]>;
  /** By id, in code unit order of its UTF-8 bytes. */
  list(page: PageRequest, options?: CallOptions): Promise<Page<StoredSchedule>>;
  delete(ids: readonly string[], options?: CallOptions): Promise<readonly boolean[]>;
  /** Not paused and `nextAt` ≤ now, earliest first; `now` is the store's clock. */
  due(
    limit: number,
    options?: CallOptions,
  ): Promise<{ readonly now: number; readonly schedules: readonly StoredSchedule[] }>;
  /** Compare-and-set. `false` when the revision is not the stored one. */
  advance(
    id: string,
    revision: string,
    next: { readonly nextAt: number | null; readonly runs: number },
    options?: CallOptions,
  ): Promise<boolean>;
  /** `advance` for many, each by itself, in few round trips. Where it lacks, core calls `advance` for each. */
  advanceMany?(advances: readonly ScheduleAdvance[], options?: CallOptions): Promise<readonly boolean[]>;
}
