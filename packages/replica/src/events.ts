// Events: append-only, idempotent by id, in one order that cursors number.
import type { EventFilter, NewEvent, Page, PageRequest, StoredEvent, TaskEventType } from "@omniq/core";
import { Heap } from "./heap.ts";
import { checkKnown, cutPage, listKey, pageLimit, readCursor } from "./page.ts";
import { SequenceList } from "./sequence-list.ts";
import type { ReplicaState } from "./state.ts";

/** What the cursors of events begin with: where a tail goes on, whatever its filter. */
const eventKey = "e";

export interface EventRecord {
  readonly sequence: number;
  readonly event: NewEvent;
  gone: boolean;
}
export interface EventState {
  nextSequence: number;
  readonly byId: Map<string, EventRecord>;
  readonly byTask: Map<string, SequenceList<EventRecord>>;
  readonly order: SequenceList<EventRecord>;
  readonly aging: Heap<EventRecord>;
}

export function createEventState(): EventState {
  return {
    nextSequence: 1,
    byId: new Map(),
    byTask: new Map(),
    order: new SequenceList(),
    aging: new Heap<EventRecord>(
      (a, b) => (a.event.at === b.event.at ? a.sequence < b.sequence : a.event.at < b.event.at),
      (record) => !record.gone,
    ),
  };
}

export function appendEvents(state: ReplicaState, events: readonly NewEvent[], at: number): void {
  // A few old ones go with each append, so that what is kept stays bounded without a sweep.
  sweepEvents(state, 2 * events.length, at);
  for (const event of events) {
    if (state.events.byId.has(event.id)) continue;
    addEvent(state.events, { sequence: state.events.nextSequence++, event, gone: false });
    state.journal.events = true;
  }
}

/** Puts a numbered event where it is found. */
export function addEvent(events: EventState, record: EventRecord): void {
  events.byId.set(record.event.id, record);
  let own = events.byTask.get(record.event.taskId);
  if (own === undefined) {
    own = new SequenceList();
    events.byTask.set(record.event.taskId, own);
  }
  own.push(record);
  events.order.push(record);
  events.aging.push(record);
}

export function queryEvents(
  state: ReplicaState,
  filter: EventFilter,
  page: PageRequest,
  at: number,
): Page<StoredEvent> {
  const limit = pageLimit(page);
  checkEventFilter(filter);
  const key = listKey("q", filter);
  const { items, next } = eventsAfter(state, filter, readCursor(key, page.cursor), limit, at);
  return next === undefined ? { items } : { items, next: `${key}${next}` };
}

const eventTypes: ReadonlySet<unknown> = new Set<TaskEventType>([
  "enqueued",
  "started",
  "progress",
  "log",
  "retrying",
  "released",
  "completed",
  "failed",
  "cancelled",
  "expired",
]);
/** An unknown type is `OMNIQ_INVALID_OPTION`: it would find nothing, for ever. */
export function checkEventFilter({ types }: EventFilter): void {
  checkKnown("type of events", types, eventTypes);
}

/** The cursor with which a query with this filter goes on behind an event; without one, what all cursors of such a query begin with. */
export function queryCursor(filter: EventFilter, after?: string): string {
  return `${listKey("q", filter)}${after === undefined ? "" : eventNumber(after)}`;
}

/** The first `limit` matching events behind a number; `next` is the last one's number when more may follow. */
export function eventsAfter(
  state: ReplicaState,
  filter: EventFilter,
  after: number,
  limit: number,
  at: number,
): { readonly items: readonly StoredEvent[]; readonly next?: string | undefined } {
  const events = filter.taskId === undefined ? state.events.order : state.events.byTask.get(filter.taskId);
  const { types, queue, from, to } = filter;
  const oldest = at - state.eventTtlMs;
  return cutPage(
    events?.after(after) ?? [],
    limit,
    ({ event }) =>
      event.at > oldest &&
      (types === undefined || types.includes(event.type)) &&
      (queue === undefined || event.queue === queue) &&
      (from === undefined || event.at >= from) &&
      (to === undefined || event.at < to),
    ({ event, sequence }) => ({ ...event, cursor: `${eventKey}${sequence}` }),
    ({ sequence }) => String(sequence),
  );
}

/** The cursor after which only events that are not there yet follow. */
export function lastEventCursor(state: ReplicaState): string {
  return `${eventKey}${state.events.nextSequence - 1}`;
}

/** The number in an event's cursor. A page's cursor is none: `OMNIQ_INVALID_OPTION`. */
export function eventNumber(cursor: string): number {
  return readCursor(eventKey, cursor);
}

export function sweepEvents(state: ReplicaState, limit: number, at: number): number {
  const { aging, byId, byTask, order } = state.events;
  const oldest = at - state.eventTtlMs;
  let removed = 0;
  for (
    let record = aging.peek();
    record !== undefined && record.event.at <= oldest && removed < limit;
    record = aging.peek()
  ) {
    aging.pop();
    record.gone = true;
    byId.delete(record.event.id);
    order.removed();
    const own = byTask.get(record.event.taskId);
    own?.removed();
    if (own?.size === 0) byTask.delete(record.event.taskId);
    removed++;
  }
  return removed;
}
