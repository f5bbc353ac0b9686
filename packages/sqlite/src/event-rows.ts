// Events as they stand in their table.
import type { NewEvent, StoredEvent, TaskEventType } from "@omniq/core";
import { isSound, nullable, text, time, whole, type Column } from "./columns.ts";
import type { Transacting } from "./sql.ts";

export interface EventRow {
  readonly seq: number;
  readonly id: string;
  readonly at: number;
  readonly type: TaskEventType;
  readonly task_id: string;
  readonly task_name: string;
  readonly queue: string;
  readonly run: number;
  readonly attempt: number;
  readonly data: string | null;
}

/** Appends events; one whose id is there already changes nothing. SQLite has one writer, so numbers follow the order of commits. */
export function appendEvents(tx: Transacting, events: readonly NewEvent[]): void {
  for (const event of events) {
    const changes = tx.sql.run(
      `INSERT INTO {p}_events (id, at, type, task_id, task_name, queue, run, attempt, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (id) DO NOTHING`,
      event.id,
      event.at,
      event.type,
      event.taskId,
      event.taskName,
      event.queue,
      event.run,
      event.attempt,
      event.data ?? null,
    );
    if (changes > 0) tx.wake.events = true;
  }
}

const eventColumns: readonly Column[] = [
  whole("seq", 1),
  text("id"),
  time("at"),
  text("type"),
  text("task_id"),
  text("task_name"),
  text("queue"),
  whole("run", 0),
  whole("attempt", 0),
  nullable(text("data")),
];

export function isSoundEvent(row: EventRow): boolean {
  return isSound(eventColumns, row);
}

export function toStoredEvent(row: EventRow, cursor: string): StoredEvent {
  return {
    id: row.id,
    at: row.at,
    type: row.type,
    taskId: row.task_id,
    taskName: row.task_name,
    queue: row.queue,
    run: row.run,
    attempt: row.attempt,
    ...(row.data === null ? {} : { data: row.data }),
    cursor,
  };
}
