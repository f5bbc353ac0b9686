// What becomes of a task whose attempt failed, or which cannot run at all.
import type { Lease } from "../contracts/index.ts";
import { OmniQError } from "../errors.ts";
import type { Serializer } from "../serializer.ts";
import type { Ending } from "./ending.ts";
import type { Execution } from "./execution.ts";
import { errorText, retryDelayMs, type Failure } from "./failures.ts";

/** A failed attempt: tried again, dead, cancelled where that was asked for, or given back where it was told to stop through no fault of its own. */
export function verdictOf(execution: Execution, failure: Failure, serializer: Serializer, maxBytes: number): Ending {
  const { aborted, cancelling, envelope, lease } = execution;
  if (cancelling) return { kind: "cancelled" };
  if (aborted !== undefined && (aborted.code === "OMNIQ_LEASE_LOST" || aborted.code === "OMNIQ_CLOSED"))
    return { kind: "release" };
  const { error, permanent, delayMs } = failure;
  const text = errorText(serializer, error, maxBytes);
  if (permanent || lease.attempt >= lease.task.maxAttempts) return { kind: "failed", error, text };
  return { kind: "retry", error, text, delayMs: delayMs ?? retryDelayMs(envelope.retry, lease.attempt) };
}

/** For good: what cannot be read today cannot be read tomorrow. */
export function damagedFailure({ taskId }: Lease, damaged: OmniQError): Failure {
  const message = `What is stored of the task ${taskId} cannot be read, so it was put aside: ${damaged.message}`;
  return { error: new OmniQError("OMNIQ_ITEM_DAMAGED", message, { taskId }), permanent: true, delayMs: undefined };
}

export function unknownFailure({ taskId, task }: Lease): Failure {
  const message = `This worker has no task ${JSON.stringify(task.name)}; give it the task, or let it drain other queues`;
  const error = new OmniQError("OMNIQ_UNKNOWN_TASK", message, { taskId });
  return { error, permanent: false, delayMs: undefined };
}
