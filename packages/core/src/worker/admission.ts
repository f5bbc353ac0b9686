// What must be true before endings are settled: the lease is held, results elsewhere are stored, events that ride along are taken.
import type { NewEvent, NewResult, SettleState, StoredResult } from "../contracts/index.ts";
import type { Runtime } from "../runtime.ts";
import { outcomeEventId } from "../task-id.ts";
import { failureOf } from "../task-outcome.ts";
import { endingOf, fitting, mayRide, resultOf, settlementOf, type Item } from "./ending.ts";
import { eventErrorOf } from "./error-copy.ts";
import type { EventWriter } from "./event-writer.ts";
import type { Execution } from "./execution.ts";
import { extendLeases } from "./heartbeats.ts";

/** Results in another backend than the queue's outlive a crash before the settlement for at least this long. */
const redeliveryMs = 3_600_000;

export interface AdmissionHost {
  readonly runtime: Runtime;
  readonly leaseMs: number;
  readonly events: EventWriter | undefined;
  /** Past its own deadline, as far as anybody here knows. */
  overdue(execution: Execution): boolean;
  settled(item: Item, state: SettleState): void;
}

/** Gives those that may be settled; the others are lost. Rejects as the backends do. */
export async function admit(host: AdmissionHost, batch: readonly Item[]): Promise<readonly Item[]> {
  const { runtime, leaseMs, events } = host;
  const { resultStorage, resultsTogether } = runtime;
  const elsewhere = resultsTogether ? undefined : resultStorage;
  let items = batch;

  // Past the own deadline nothing is written until the queue says that the lease is held; nor is any outcome but completed, which a
  // later attempt could contradict, written to another backend.
  const doubtful = items.filter(
    ({ execution, ending }) =>
      (elsewhere !== undefined && (ending.kind === "failed" || ending.kind === "cancelled")) || host.overdue(execution),
  );
  if (doubtful.length > 0) {
    const states = await extendLeases(
      runtime.taskQueue,
      doubtful.map((item) => item.execution),
      leaseMs,
    );
    const lost = new Set(doubtful.filter((_, index) => states[index]?.state === "lost"));
    items = items.filter((item) => !lost.has(item));
    for (const item of lost) host.settled(item, "lost");
  }

  if (elsewhere !== undefined) {
    const ended = items.flatMap((item) => {
      const result = resultOf(item.execution, item.ending, redeliveryMs);
      return result === undefined ? [] : [{ item, result }];
    });
    const { maxBatch } = elsewhere.capabilities;
    for (let start = 0; start < ended.length;) {
      const part = ended.slice(start, start + fitting(ended, start, maxBatch, ({ result }) => lengthOfResult(result)));
      const stored = await elsewhere.put(part.map(({ result }) => result));
      part.forEach(({ item, result }, index) => takeStanding(runtime, item, result, stored[index]));
      start += part.length;
    }
  }

  for (const item of items) {
    if (item.settlement !== undefined) continue;
    const { execution, ending } = item;
    const settlement = settlementOf(execution, ending, resultsTogether);
    if (events === undefined || !runtime.eventsTogether || item.eventsApart === true) {
      item.settlement = settlement;
      continue;
    }
    // The task's own order: what is on its way goes first.
    if (execution.appending !== undefined) await execution.appending;
    let riders: readonly NewEvent[] = events.take(execution);
    if (!mayRide(riders)) {
      await events.append(riders);
      riders = [];
    }
    item.settlement = { ...settlement, events: [...riders, endingEvent(runtime, item)] };
  }
  return items;
}

/** What another attempt has stored before stands. */
function takeStanding(runtime: Runtime, item: Item, result: NewResult, standing: StoredResult | undefined): void {
  // The marker of a task that keeps no result has no value; what the handler gave still goes to the dependents.
  if (standing === undefined || same(standing, result)) return;
  item.ending = endingOf(standing, {
    output: (text) => runtime.serializer.deserialize(text),
    error: (text) => failureOf(text, standing.taskId, runtime.serializer),
  });
  item.settlement = undefined;
}
function same(standing: StoredResult, own: NewResult): boolean {
  return (
    standing.run === own.run &&
    standing.status === own.status &&
    standing.value === own.value &&
    standing.error === own.error
  );
}
function lengthOfResult({ value, error }: NewResult): number {
  return 200 + (value?.length ?? 0) + (error?.length ?? 0);
}

/** The event that tells of an ending. Terminal ones have the id that any recorder of the outcome would give them. */
export function endingEvent(runtime: Runtime, { execution, ending }: Item): NewEvent {
  const { lease } = execution;
  const task = { id: lease.taskId, name: lease.task.name, queue: lease.queue, run: lease.run, attempt: lease.attempt };
  if (ending.kind === "release") return runtime.event("released", task);
  if (ending.kind === "retry")
    return runtime.event("retrying", task, { error: eventErrorOf(ending.error), runAt: Date.now() + ending.delayMs });
  const data = ending.kind === "failed" ? { error: eventErrorOf(ending.error) } : undefined;
  return { ...runtime.event(ending.kind, task, data), id: outcomeEventId(lease.taskId, lease.run, ending.kind) };
}
