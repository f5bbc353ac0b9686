// Settling and extending: turns settlements into columns, and the server's answer into states.
import type { LeaseExtension, NewEvent, Settlement, SettleState } from "@omniq/core";
import { Columns, shortened, wholeMs } from "./columns.ts";
import { readList, type Row } from "./connection.ts";
import { eventColumns } from "./event-rows.ts";
import { mayHaveKey, placeOf, storedToken } from "./task-rows.ts";

/** A call of the function `settle`, and the order in which its settlements went. */
export interface SettleCall {
  readonly call: string;
  readonly values: unknown[];
  readonly order: readonly Settlement[];
  /** Tasks whose result may be there afterwards. */
  readonly results: readonly string[];
  readonly events: boolean;
}

function byId(one: { readonly taskId: string }, other: { readonly taskId: string }): number {
  return one.taskId < other.taskId ? -1 : one.taskId > other.taskId ? 1 : 0;
}

/** Characters of the settlements that go in one statement, unless one alone has more. */
const maxCharacters = 33_554_432;

/** Cuts settlements into what one statement may carry. */
export function cutSettlements(settlements: readonly Settlement[]): readonly (readonly Settlement[])[] {
  let characters = 0;
  let from = 0;
  const parts: (readonly Settlement[])[] = [];
  for (const [index, settlement] of settlements.entries()) {
    let size = 0;
    if ("value" in settlement) size += settlement.value?.length ?? 0;
    if ("error" in settlement) size += settlement.error?.length ?? 0;
    for (const event of settlement.events ?? []) size += event.data?.length ?? 0;
    if (index > from && characters + size > maxCharacters) {
      parts.push(settlements.slice(from, index));
      from = index;
      characters = 0;
    }
    characters += size;
  }
  if (from === 0) return [settlements];
  return [...parts, settlements.slice(from)];
}

export function settleCall(settlements: readonly Settlement[]): SettleCall {
  // Rows are locked in the order of their ids, so that two calls never wait for each other in a circle.
  const order = settlements.toSorted(byId);
  const events: NewEvent[] = [];
  const owners: number[] = [];
  const results: string[] = [];
  const errors: (string | undefined)[] = [];
  const values: (string | undefined)[] = [];
  const stores: boolean[] = [];
  const delays: (number | null)[] = [];
  for (const [index, settlement] of order.entries()) {
    const terminal = settlement.outcome !== "retry" && settlement.outcome !== "release";
    const store = terminal && settlement.storeResult;
    if (store) results.push(settlement.taskId);
    stores.push(store);
    values.push(terminal ? settlement.value : undefined);
    errors.push(settlement.outcome === "release" ? undefined : settlement.error);
    delays.push(
      wholeMs(settlement.outcome === "retry" || settlement.outcome === "release" ? settlement.delayMs : null),
    );
    for (const event of settlement.events ?? []) {
      events.push(event);
      owners.push(index + 1);
    }
  }
  const columns = new Columns()
    .text(order.map((settlement) => settlement.taskId))
    .text(shortened(order.map((settlement) => storedToken(settlement.token))))
    .of(
      "tid",
      order.map((settlement) => placeOf(settlement.token)),
    )
    .text(shortened(order.map((settlement) => settlement.outcome)))
    .of("boolean", shortened(stores))
    .text(values)
    .text(errors)
    .of("bigint", delays)
    .text([...new Set(order.map((settlement) => settlement.queue))])
    .text([...new Set(order.map((settlement) => storedToken(settlement.token)))])
    .value(
      order.some((settlement) => mayHaveKey(settlement.token)),
      "boolean",
    );
  eventColumns(columns, events, owners);
  const built = columns.build();
  return { call: `{s}.settle(${built.list})`, values: built.values, order, results, events: events.length > 0 };
}

/** Reads the row of position -2: the states in the order asked, and the queues to wake. */
export function readSettled(
  row: Row,
  { order }: SettleCall,
  settlements: readonly Settlement[],
): { readonly states: readonly SettleState[]; readonly wake: readonly string[] } {
  const wake = readList(row[5]);
  const marks = row[4] as string | null;
  if (marks === null) return { states: settlements.map(() => "settled"), wake };
  const states = new Map(
    order.map((settlement, index) => [settlement, marks[index] === "1" ? "settled" : "lost"] as const),
  );
  return { states: settlements.map((settlement) => states.get(settlement) ?? "lost"), wake };
}

export function extendCall(
  leases: readonly LeaseExtension[],
  leaseMs: number,
): { readonly text: string; readonly values: unknown[]; readonly order: readonly LeaseExtension[] } {
  const order = leases.toSorted(byId);
  const { list, values } = new Columns()
    .text(order.map((lease) => lease.taskId))
    .text(order.map((lease) => storedToken(lease.token)))
    .text(order.map((lease) => lease.progress))
    .value(wholeMs(leaseMs), "bigint")
    .build();
  return { text: `SELECT n, cancelled, until FROM {s}.extend(${list})`, values, order };
}
