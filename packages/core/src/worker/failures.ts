// What a failed attempt means: which error is kept, whether it is tried again, and when.
import type { ResolvedRetry } from "../envelope.ts";
import { isOmniQError, OmniQError, type OmniQErrorCode } from "../errors.ts";
import type { Serializer } from "../serializer.ts";

/** A failed attempt, understood. */
export interface Failure {
  readonly error: OmniQError;
  /** No more attempts. */
  readonly permanent: boolean;
  /** The handler's own say, in place of the policy's. */
  readonly delayMs: number | undefined;
}

/** Thrown by the worker itself inside an attempt, so that its code is told apart from the same code thrown by a handler. */
export class AttemptFailed extends Error {
  readonly failure: Failure;
  constructor(code: OmniQErrorCode, message: string, options: { readonly cause?: unknown; readonly taskId: string }) {
    super(message);
    this.failure = {
      error: new OmniQError(code, message, { ...options, retryable: false }),
      permanent: false,
      delayMs: undefined,
    };
  }
}

function text(thrown: unknown): string {
  try {
    const message = thrown instanceof Error ? thrown.message : typeof thrown === "string" ? thrown : String(thrown);
    return message.length > 2_000 ? `${message.slice(0, 2_000)}...` : message;
  } catch {
    return "a value without text was thrown";
  }
}

/**
 * Understands what an attempt threw. `failTask()` ends the attempts; it is told from another task's failure (`handle.result()` that rejects
 * inside the handler) by having no task id.
 */
export function failureOf(task: { readonly id: string; readonly name: string }, thrown: unknown): Failure {
  if (thrown instanceof AttemptFailed) return thrown.failure;
  const { id, name } = task;
  const permanent = isOmniQError(thrown, "OMNIQ_TASK_FAILED") && thrown.taskId === undefined;
  if (isOmniQError(thrown, "OMNIQ_TASK_RETRY")) {
    const cause = thrown.cause ?? undefined;
    const message = cause === undefined ? thrown.message : text(cause);
    return {
      error: new OmniQError("OMNIQ_TASK_FAILED", message, { cause, taskId: id }),
      permanent: false,
      delayMs: Math.max(0, Math.trunc(thrown.delayMs ?? 0)),
    };
  }
  if (permanent) {
    const cause = thrown.cause;
    return {
      error: new OmniQError("OMNIQ_TASK_FAILED", thrown.message, { cause, taskId: id }),
      permanent,
      delayMs: undefined,
    };
  }
  const error = new OmniQError(
    "OMNIQ_TASK_FAILED",
    `The task ${JSON.stringify(name)} (${id}) failed: ${text(thrown)}`,
    { cause: thrown, taskId: id },
  );
  return { error, permanent, delayMs: undefined };
}

/** The failure of an attempt that ran into its time limit: `OMNIQ_TASK_FAILED`, cause `OMNIQ_TIMEOUT`. */
export function timedOut(task: { readonly id: string; readonly name: string }, timeout: OmniQError): Failure {
  return {
    error: new OmniQError("OMNIQ_TASK_FAILED", timeout.message, { cause: timeout, taskId: task.id }),
    permanent: false,
    delayMs: undefined,
  };
}

/** How long to wait after this attempt (1-based), in whole milliseconds. */
export function retryDelayMs(policy: ResolvedRetry, attempt: number, random: number = Math.random()): number {
  const grown =
    policy.backoff === "fixed"
      ? policy.delayMs
      : policy.backoff === "linear"
        ? policy.delayMs * attempt
        : policy.delayMs * policy.factor ** (attempt - 1);
  const capped = Math.min(grown, policy.maxDelayMs);
  return Math.round(Math.min(capped * (1 - policy.jitter + 2 * policy.jitter * random), Number.MAX_SAFE_INTEGER));
}

/** The error as text, cut to its bare message where it cannot be serialized or has more than `maxBytes`. */
export function errorText(serializer: Serializer, error: OmniQError, maxBytes: number): string {
  try {
    const whole = serializer.serialize(error);
    if (typeof whole === "string" && Buffer.byteLength(whole) <= maxBytes) return whole;
  } catch {
    // A cause that cannot be serialized must not hide that the task failed.
  }
  const bare = new OmniQError(error.code, error.message.slice(0, 2_000).toWellFormed(), {
    taskId: error.taskId,
    retryable: error.retryable,
  });
  delete (bare as { stack?: string }).stack;
  try {
    return serializer.serialize(bare);
  } catch {
    return JSON.stringify({ code: error.code, message: bare.message });
  }
}
