// What a failed attempt means: which error is kept, whether it is tried again, and when.
import type { ResolvedRetry } from "../envelope.ts";
import { isOmniQError, OmniQError, type OmniQErrorCode } from "../errors.ts";
import { jsonSerializer, type Serializer } from "../serializer.ts";
import { copyError, describeThrown, textOf } from "./error-copy.ts";

/** A failed attempt, understood. */
export interface Failure {
  readonly error: OmniQError;
  /** No more attempts. */
  readonly permanent: boolean;
  /** The handler's own say, in place of the policy's. A whole number of milliseconds that every backend takes. */
  readonly delayMs: number | undefined;
}

/** The longest pause: a hundred years, as for all times that options say. */
const maxDurationMs = 3_155_760_000_000;
/** UTF-8 bytes of a stored error; a backend that takes less gets less. */
export const maxErrorBytes = 65_536;

/** Thrown by the worker itself inside an attempt, so that its code is told apart from the same code thrown by a handler. */
export class AttemptFailed extends Error {
  readonly failure: Failure;
  constructor(
    code: OmniQErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly taskId: string; readonly permanent?: boolean },
  ) {
    super(message);
    const { cause, taskId, permanent = false } = options;
    this.failure = {
      error: new OmniQError(code, message, { cause, taskId, retryable: false }),
      permanent,
      delayMs: undefined,
    };
  }
}

type Subject = { readonly id: string; readonly name: string };

/**
 * Understands what an attempt threw, whatever it is; never throws. `failTask()` ends the attempts; it is told from another task's failure
 * (`handle.result()` that rejects inside the handler) by having no task id.
 */
export function failureOf(task: Subject, thrown: unknown): Failure {
  try {
    return understand(task, thrown);
  } catch {
    // A proxy or a getter that throws where it is touched.
    return failed(task, thrown);
  }
}
function understand(task: Subject, thrown: unknown): Failure {
  if (thrown instanceof AttemptFailed) return thrown.failure;
  const taskId = task.id;
  if (isOmniQError(thrown, "OMNIQ_TASK_RETRY")) {
    const { cause, delayMs } = thrown;
    // Nonsense must not reach a store: the policy's pause is taken, and the error says why.
    const known = typeof delayMs === "number" && delayMs >= 0 && delayMs !== Number.POSITIVE_INFINITY;
    const message =
      known || delayMs === undefined
        ? cause === undefined || cause === null
          ? textOf(thrown.message)
          : describeThrown(cause).message
        : `The task ${JSON.stringify(task.name)} (${taskId}) asked to be tried again in ${textOf(delayMs, 100)} ms; delayMs must be a number from 0 to ${maxDurationMs}, so it is tried again by its policy`;
    return {
      error: new OmniQError("OMNIQ_TASK_FAILED", message, { cause: cause ?? undefined, taskId }),
      permanent: false,
      delayMs: known ? Math.min(Math.trunc(delayMs), maxDurationMs) : undefined,
    };
  }
  if (isOmniQError(thrown, "OMNIQ_TASK_FAILED") && thrown.taskId === undefined) {
    const error = new OmniQError("OMNIQ_TASK_FAILED", textOf(thrown.message, 8_000), { cause: thrown.cause, taskId });
    return { error, permanent: true, delayMs: undefined };
  }
  return failed(task, thrown);
}
function failed({ id, name }: Subject, thrown: unknown): Failure {
  const message = `The task ${JSON.stringify(name)} (${id}) failed: ${describeThrown(thrown).message}`;
  const error = new OmniQError("OMNIQ_TASK_FAILED", message, { cause: thrown, taskId: id });
  return { error, permanent: false, delayMs: undefined };
}

/** The failure of an attempt that ran into its time limit: `OMNIQ_TASK_FAILED`, cause `OMNIQ_TIMEOUT`. */
export function timedOut(task: Subject, timeout: OmniQError): Failure {
  return {
    error: new OmniQError("OMNIQ_TASK_FAILED", timeout.message, { cause: timeout, taskId: task.id }),
    permanent: false,
    delayMs: undefined,
  };
}

/** How long to wait after this attempt (1-based): a whole number of milliseconds that every backend takes. */
export function retryDelayMs(policy: ResolvedRetry, attempt: number, random: number = Math.random()): number {
  const grown =
    policy.backoff === "fixed"
      ? policy.delayMs
      : policy.backoff === "linear"
        ? policy.delayMs * attempt
        : policy.delayMs * policy.factor ** (attempt - 1);
  // Nothing grown without end is nothing: 0 × Infinity is no number.
  const capped = policy.delayMs === 0 ? 0 : Math.min(grown, policy.maxDelayMs);
  const delayMs = Math.round(capped * (1 - policy.jitter + 2 * policy.jitter * random));
  return delayMs >= 0 ? Math.min(delayMs, maxDurationMs) : 0;
}

/**
 * The error as text of at most {@link maxErrorBytes}, or `maxBytes` where that is less: less and less of it, until it fits and the serializer
 * takes it. Never throws.
 */
export function errorText(serializer: Serializer, error: OmniQError, maxBytes: number): string {
  const limit = Math.min(maxBytes, maxErrorBytes);
  for (const length of ["whole", "short"] as const) {
    try {
      const text = serializer.serialize(copyError(error, length));
      if (typeof text === "string" && Buffer.byteLength(text) <= limit) return text;
    } catch {
      // What cannot be serialized must not hide that the task failed.
    }
  }
  const bare = bareError(error);
  try {
    const text = serializer.serialize(bare);
    if (typeof text === "string" && Buffer.byteLength(text) <= limit) return text;
  } catch {
    // As above.
  }
  return safeErrorText(serializer, error);
}

/** Code and message alone, in ASCII: what any store takes, for where it has refused more. */
export function safeErrorText(serializer: Serializer, error: OmniQError): string {
  const { code, message } = bareError(error);
  // A serializer of the user's may have been what made the text that was refused; queues write their own errors in this form, too.
  const text =
    serializer === jsonSerializer ? jsonSerializer.serialize(bareError(error)) : JSON.stringify({ code, message });
  return text.replaceAll(/[^\u0020-\u007e]/gu, (character) =>
    Array.from(
      { length: character.length },
      (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`,
    ).join(""),
  );
}

function bareError(error: OmniQError): OmniQError {
  const { code, taskId, retryable } = error;
  const bare = new OmniQError(code, textOf(error.message).toWellFormed(), { taskId, retryable });
  delete (bare as { stack?: string }).stack;
  return bare;
}
