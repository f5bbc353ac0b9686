// How an execution ends, and the settlement and the event that say so to the backend.
import type { NewEvent, NewResult, Settlement, StoredResult } from "../contracts/index.ts";
import type { OmniQError } from "../errors.ts";
import type { Execution } from "./execution.ts";

export type Ending =
  | { readonly kind: "completed"; readonly value: string | undefined; readonly output: () => unknown }
  | { readonly kind: "failed"; readonly text: string; readonly error: OmniQError }
  | { readonly kind: "retry"; readonly text: string; readonly error: OmniQError; readonly delayMs: number }
  | { readonly kind: "cancelled" }
  /** `delayMs`: more than 0; due again only after that time. */
  | { readonly kind: "release"; readonly delayMs?: number };

/** An execution on its way out. */
export interface Item {
  readonly execution: Execution;
  ending: Ending;
  settlement: Settlement | undefined;
  /** Its events are appended by themselves: the backend refused them beside the settlement. */
  eventsApart?: boolean;
}

/** About how many characters one call to a backend may carry, so that no call is too big for what any of them can send. */
export const maxCallLength = 4_194_304;
/** Of one task; more events, or longer ones, do not ride on its settlement. */
const maxRiders = 100;
const maxRidersLength = 262_144;

/** Whether these are few enough to ride on a settlement. */
export function mayRide(events: readonly NewEvent[]): boolean {
  return events.length <= maxRiders && lengthOfEvents(events) <= maxRidersLength;
}
export function lengthOfEvents(events: readonly NewEvent[]): number {
  let length = 0;
  for (const { data } of events) length += 200 + (data?.length ?? 0);
  return length;
}
/** About how many characters an item brings into a call. */
export function lengthOf({ execution, ending }: Item): number {
  const text = ending.kind === "completed" ? ending.value : "text" in ending ? ending.text : undefined;
  const { events } = execution;
  const riders =
    events === undefined || events.length > maxRiders ? 0 : Math.min(lengthOfEvents(events), maxRidersLength);
  return 200 + riders + (text?.length ?? 0);
}
/** How many of these, from `start` on, fit into one call: at most `count`, and at least one. */
export function fitting<T>(items: readonly T[], start: number, count: number, length: (item: T) => number): number {
  const end = Math.min(items.length, start + count);
  let at = start;
  for (let total = 0; at < end; at++) {
    total += length(items[at] as T);
    if (total > maxCallLength && at > start) break;
  }
  return at - start;
}

/** What the queue is told; `storeResult` where results are kept by its own backend. */
export function settlementOf(execution: Execution, ending: Ending, storeResult: boolean): Settlement {
  const { taskId, queue, token, run, attempt } = execution.lease;
  // Written out: this runs for every task, and spreading costs several times as much.
  switch (ending.kind) {
    case "completed":
      return { taskId, queue, token, run, attempt, outcome: "completed", storeResult, value: ending.value };
    case "failed":
      return { taskId, queue, token, run, attempt, outcome: "failed", storeResult, error: ending.text };
    case "cancelled":
      return { taskId, queue, token, run, attempt, outcome: "cancelled", storeResult };
    case "retry":
      return { taskId, queue, token, run, attempt, outcome: "retry", delayMs: ending.delayMs, error: ending.text };
    case "release":
      return ending.delayMs === undefined
        ? { taskId, queue, token, run, attempt, outcome: "release" }
        : { taskId, queue, token, run, attempt, outcome: "release", delayMs: ending.delayMs };
  }
}

/**
 * The result for a storage of another backend, which must outlive a crash between storing it and settling: it is kept for at least
 * `redeliveryMs`, as a bare marker where the task keeps no result.
 */
export function resultOf(execution: Execution, ending: Ending, redeliveryMs: number): NewResult | undefined {
  if (ending.kind === "retry" || ending.kind === "release") return undefined;
  const { task, run, attempt } = execution.lease;
  const { resultTtlMs } = task;
  return {
    taskId: task.id,
    run,
    attempt,
    name: task.name,
    queue: task.queue,
    status: ending.kind,
    value: ending.kind === "completed" && resultTtlMs !== 0 ? ending.value : undefined,
    error: ending.kind === "failed" && resultTtlMs !== 0 ? ending.text : undefined,
    ttlMs: resultTtlMs === null ? null : Math.max(resultTtlMs, redeliveryMs),
  };
}

/** The ending that a stored result stands for. */
export function endingOf(
  stored: StoredResult,
  read: { readonly output: (text: string) => unknown; readonly error: (text: string | undefined) => OmniQError },
): Ending {
  if (stored.status === "completed") {
    const { value } = stored;
    return { kind: "completed", value, output: () => (value === undefined ? undefined : read.output(value)) };
  }
  if (stored.status === "failed")
    return { kind: "failed", text: stored.error ?? "null", error: read.error(stored.error) };
  return { kind: "cancelled" };
}
