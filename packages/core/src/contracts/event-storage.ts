// The event storage contract: facts about tasks, append-only.
import type { CallOptions, Component, ComponentCapabilities, Page, PageRequest } from "./component.ts";

export type TaskEventType =
  | "enqueued"
  | "started"
  | "progress"
  | "log"
  | "retrying"
  | "released"
  | "completed"
  | "failed"
  | "cancelled"
  | "expired";

export interface NewEvent {
  /** Unique. Appending an id that is already there changes nothing. */
  readonly id: string;
  /** The appender's clock. */
  readonly at: number;
  readonly type: TaskEventType;
  readonly taskId: string;
  readonly taskName: string;
  readonly queue: string;
  readonly run: number;
  readonly attempt: number;
  /** Opaque text. */
  readonly data?: string | undefined;
}

export interface StoredEvent extends NewEvent {
  /** Opaque: where to go on with `tail`. */
  readonly cursor: string;
}

/** `from` inclusive, `to` exclusive, both against `at`. */
export interface EventFilter {
  readonly taskId?: string | undefined;
  readonly types?: readonly TaskEventType[] | undefined;
  readonly queue?: string | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/**
 * The event storage. Events are kept for the backend's `eventTtlMs` (default 7 days) from `at`.
 *
 * - `event-order`: the events of one task come back in the order in which they were appended; appends are idempotent by `id`.
 * - `event-query`: by task, type, queue and time range, in append order, in stable pages.
 * - `event-tail`: from a cursor on, all that follows, live, each once, whatever order concurrent writers commit in.
 */
export interface EventStorage extends Component<"event-storage"> {
  readonly capabilities: EventStorageCapabilities;
  append(events: readonly NewEvent[], options?: CallOptions): Promise<void>;
  query(filter: EventFilter, page: PageRequest, options?: CallOptions): Promise<Page<StoredEvent>>;
  /** After a cursor, from the `start` of what is kept, or from `now` (the first `next()` call). Ends when aborted or closed. */
  tail(filter: EventFilter, after: string | "start" | "now", options?: CallOptions): AsyncIterable<StoredEvent>;
  /** Removes at most about `limit` events that are past their time. Says how many. */
  sweep(limit: number, options?: CallOptions): Promise<number>;
}
export interface EventStorageCapabilities extends ComponentCapabilities {
  readonly maxDataBytes: number;
  readonly maxBatch: number;
}
