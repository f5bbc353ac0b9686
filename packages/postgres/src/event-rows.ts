// Events as columns and as rows.
import type { NewEvent, StoredEvent } from "@omniq/core";
import type { Columns } from "./columns.ts";
import type { Row } from "./connection.ts";
import { isTime, isWhole } from "./damage.ts";

/** The parameters of events, in the order in which all functions take them. `owners`: whose event each is. */
export function eventColumns(columns: Columns, events: readonly NewEvent[], owners: readonly number[]): void {
  columns
    .of("bigint", owners)
    .text(events.map((event) => event.id))
    .of(
      "bigint",
      events.map((event) => Math.floor(event.at)),
    )
    .text(events.map((event) => event.type))
    .text(events.map((event) => event.taskId))
    .text(events.map((event) => event.taskName))
    .text(events.map((event) => event.queue))
    .of(
      "bigint",
      events.map((event) => event.run),
    )
    .of(
      "bigint",
      events.map((event) => event.attempt),
    )
    .text(events.map((event) => event.data));
}

/** The append order. With the table's name: `txid` alone would be the column of the answer, which is text, and 99 come after 100. */
export const eventOrder = "events.txid, events.seq";

/** `txid` as text: it may be larger than what a number holds. */
export const eventRowColumns = "txid::text, seq, id, at, type, task_id, task_name, queue, run, attempt, data";

/** `undefined` for what cannot be read. */
export function toStoredEvent(row: Row, cursor: string): StoredEvent | undefined {
  const data = row[10] as string | null;
  if (!isTime(row[3]) || !row[4] || !isWhole(row[8]) || !isWhole(row[9])) return undefined;
  return {
    id: row[2],
    at: row[3],
    type: row[4],
    taskId: row[5],
    taskName: row[6],
    queue: row[7],
    run: row[8],
    attempt: row[9],
    ...(data === null ? {} : { data }),
    cursor,
  };
}
