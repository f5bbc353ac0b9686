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
 * A task that the queue failed by itself is logged: no worker's hook ever sees it. Two processes that record at once may both say it.
 */
export async function recordOutcomes(
  runtime: Pick<Runtime, "taskQueue" | "resultStorage" | "eventStorage" | "serializer" | "event" | "logger">,
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
  for (const outcome of outcomes) if (outcome.status === "failed") logFailure(outcome, runtime);
  return outcomes.length;
}

function resultOf(outcome: UnrecordedOutcome): NewResult {
  const { taskId, run, attempt, name, queue, status, error, finishedAt, resultTtlMs } = outcome;
  return { taskId, run, attempt, name, queue, status, error, finishedAt, ttlMs: resultTtlMs };
}

/** Items that cannot be read are not among these: their backend reports them. */
function logFailure(outcome: UnrecordedOutcome, { logger, serializer }: Pick<Runtime, "logger" | "serializer">): void {
  const { taskId, name, queue, run, attempt } = outcome;
  const error = failureOf(outcome.error, taskId, serializer);
  const fields = { taskId, name, queue, run, attempt, error };
  if (error.code === "OMNIQ_LEASE_LOST")
    logger.error("A task is a dead letter: its leases ran out too often, as when its worker crashes each time", fields);
  else if (error.code === "OMNIQ_DEPENDENCY_FAILED")
    logger.warn("A task is a dead letter: a task that it depends on did not complete", fields);
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
