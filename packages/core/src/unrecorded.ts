// Stores the results of outcomes that a queue decided by itself (`outcome-recorded`), so that whoever waits for one
// always gets it.
import type { NewEvent, NewResult, UnrecordedOutcome } from "./contracts/index.ts";
import type { Runtime } from "./runtime.ts";
import { eventErrorOf } from "./events.ts";
import { outcomeEventId } from "./task-id.ts";
import { failureOf } from "./task-outcome.ts";

/**
 * Takes up to `limit` outcomes, stores their results (the first for a run stands) and events, and tells the queue.
 * Safe to run anywhere at
 * any time: every step is idempotent, and after a crash in between the next one starts over. Says how many it recorded.
 */
export async function recordOutcomes(
  runtime: Pick<Runtime, "taskQueue" | "resultStorage" | "eventStorage" | "serializer" | "event">,
  limit: number,
): Promise<number> {
  const { taskQueue, resultStorage, eventStorage } = runtime;
  const outcomes = await taskQueue.unrecorded(Math.min(limit, taskQueue.capabilities.maxBatch));
  if (outcomes.length === 0) return 0;
  if (resultStorage) {
    const results = outcomes.filter((outcome) => outcome.resultTtlMs !== 0).map(resultOf);
    await inBatches(results, resultStorage.capabilities.maxBatch, async (batch) => await resultStorage.put(batch));
  }
  if (eventStorage) {
    const events = outcomes.map((outcome) => eventOf(outcome, runtime));
    await inBatches(events, eventStorage.capabilities.maxBatch, async (batch) => await eventStorage.append(batch));
  }
  await taskQueue.record(outcomes.map(({ taskId, run }) => ({ taskId, run })));
  return outcomes.length;
}

function resultOf(outcome: UnrecordedOutcome): NewResult {
  const { taskId, run, attempt, name, queue, status, error, finishedAt, resultTtlMs } = outcome;
  return { taskId, run, attempt, name, queue, status, error, finishedAt, ttlMs: resultTtlMs };
}

function eventOf(outcome: UnrecordedOutcome, runtime: Pick<Runtime, "event" | "serializer">): NewEvent {
  const { taskId, run, attempt, name, queue, status, finishedAt } = outcome;
  let data: unknown;
  if (status === "failed") {
    const failure = failureOf(outcome.error, taskId, runtime.serializer);
    data = { error: eventErrorOf(failure) };
  }
  // The same id and time whoever records it: an append that comes again changes nothing.
  return {
    ...runtime.event(status, { id: taskId, name, queue, run, attempt }, data),
    id: outcomeEventId(taskId, run, status),
    at: finishedAt,
  };
}

async function inBatches<T>(
  items: readonly T[],
  size: number,
  each: (batch: readonly T[]) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < items.length; at += size) await each(items.slice(at, at + size));
}
