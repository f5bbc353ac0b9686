// From stored results and tasks to what users see: outcomes, statuses and errors.
import type { QueueError, StoredResult, StoredTask } from "./contracts/index.ts";
import { OmniQError, isOmniQError, type OmniQErrorCode } from "./errors.ts";
import type { TaskOutcome, TaskStatus } from "./handle.ts";
import type { Serializer } from "./serializer.ts";
import { errorMessage, isInstance, readProperty, textOf } from "./thrown-text.ts";

/**
 * Codes that an ended task shows as they are; an error of any other code was thrown by the handler and becomes a
 * cause.
 */
const own: ReadonlySet<OmniQErrorCode> = new Set<OmniQErrorCode>([
  "OMNIQ_TASK_FAILED",
  "OMNIQ_DEPENDENCY_FAILED",
  "OMNIQ_LEASE_LOST",
  "OMNIQ_UNKNOWN_TASK",
  "OMNIQ_INVALID_INPUT",
  "OMNIQ_SERIALIZATION_FAILED",
  "OMNIQ_ITEM_DAMAGED",
]);

/** Codes that queues write by themselves, as plain JSON. */
const ofQueues: ReadonlySet<unknown> = new Set<QueueError["code"]>([
  "OMNIQ_LEASE_LOST",
  "OMNIQ_DEPENDENCY_FAILED",
  "OMNIQ_ITEM_DAMAGED",
]);

/**
 * The error of a task that failed, from its stored text: an {@link OmniQError} with the task's id. What a handler
 * threw is the cause of an
 * `OMNIQ_TASK_FAILED`; what a queue wrote by itself (`QueueError`) keeps its code. Never throws, whatever the text is.
 */
export function failureOf(text: string | undefined, taskId: string, serializer: Serializer): OmniQError {
  const value = text === undefined ? undefined : readError(text, serializer);
  // An error about another task (a child whose result was awaited) is the cause, not the failure itself.
  if (isOmniQError(value) && own.has(value.code) && (value.taskId === undefined || value.taskId === taskId)) {
    if (value.taskId !== undefined) return value;
    return new OmniQError(value.code, value.message, { cause: value.cause, retryable: value.retryable, taskId });
  }
  if (!isInstance(value, Error) && !isOmniQError(value)) {
    const code = readProperty(value, "code");
    if (ofQueues.has(code))
      return new OmniQError(code as QueueError["code"], textOf(readProperty(value, "message") ?? ""), { taskId });
  }
  const said = value === undefined || value === null ? "" : `: ${errorMessage(value)}`;
  return new OmniQError("OMNIQ_TASK_FAILED", `The task ${JSON.stringify(taskId)} failed${said}`, {
    cause: value,
    taskId,
  });
}

function readError(text: string, serializer: Serializer): unknown {
  try {
    return serializer.deserialize(text);
  } catch (error) {
    // A queue writes its own errors as plain JSON, which a serializer of the user's may not read.
    try {
      return JSON.parse(text);
    } catch {
      return error;
    }
  }
}

function readValue(text: string, taskId: string, serializer: Serializer): unknown {
  try {
    return serializer.deserialize(text);
  } catch (cause) {
    const reason = isOmniQError(cause) ? cause.message : "the serializer failed";
    throw new OmniQError(
      "OMNIQ_SERIALIZATION_FAILED",
      `The stored output of task ${JSON.stringify(taskId)} cannot be read: ${reason}`,
      { cause, taskId },
    );
  }
}

/** The outcome that a stored result tells of. Throws `OMNIQ_SERIALIZATION_FAILED`, and nothing else, where its output cannot be read. */
export function outcomeOf(result: StoredResult, serializer: Serializer): TaskOutcome<unknown> {
  const { status, attempt, finishedAt, taskId } = result;
  if (status === "completed") {
    return {
      status,
      output: result.value === undefined ? undefined : readValue(result.value, taskId, serializer),
      attempt,
      finishedAt,
    };
  }
  if (status === "failed") return { status, error: failureOf(result.error, taskId, serializer), attempt, finishedAt };
  return { status, attempt, finishedAt };
}

/** The error that `result()` rejects with for an outcome other than completed. */
export function rejectionOf(
  outcome: Exclude<TaskOutcome<unknown>, { status: "completed" }>,
  taskId: string,
): OmniQError {
  if (outcome.status === "failed") return outcome.error;
  const name = JSON.stringify(taskId);
  return outcome.status === "cancelled"
    ? new OmniQError("OMNIQ_TASK_CANCELLED", `The task ${name} was cancelled`, { taskId })
    : new OmniQError("OMNIQ_TASK_EXPIRED", `The task ${name} expired before it was started`, { taskId });
}

/** A look at a task that is in its queue. */
export function statusOfTask(task: StoredTask, serializer: Serializer): TaskStatus {
  const { id, name, queue, state, run, attempt, runAt } = task;
  const progress = task.progress === undefined ? undefined : readProgress(task.progress, serializer);
  return {
    id,
    name,
    queue,
    state,
    run,
    attempt,
    runAt,
    ...(progress === undefined ? {} : { progress }),
    ...(task.error === undefined ? {} : { error: failureOf(task.error, id, serializer) }),
  };
}

/** A look at a task that has left its queue. */
export function statusOfResult(result: StoredResult, serializer: Serializer): TaskStatus {
  const { taskId: id, name, queue, status, run, attempt } = result;
  return {
    id,
    name,
    queue,
    state: status,
    run,
    attempt,
    ...(result.error === undefined ? {} : { error: failureOf(result.error, id, serializer) }),
  };
}

function readProgress(text: string, serializer: Serializer): NonNullable<TaskStatus["progress"]> | undefined {
  try {
    const { fraction, message } = serializer.deserialize(text) as { fraction?: unknown; message?: unknown };
    if (typeof fraction !== "number" || !(fraction >= 0 && fraction <= 1)) return undefined;
    return typeof message === "string" ? { fraction, message } : { fraction };
  } catch {
    return undefined;
  }
}
