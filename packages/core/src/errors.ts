// The one error class, its codes, and how it is recognised across duplicate installs.
import { maxDurationMs } from "./duration.ts";
import { errorMessage, readProperty, textOf } from "./thrown-text.ts";

/** Codes are API. */
export type OmniQErrorCode =
  | "OMNIQ_CONFIG_INVALID"
  | "OMNIQ_ADAPTER_NOT_FOUND"
  | "OMNIQ_ADAPTER_INCOMPATIBLE"
  | "OMNIQ_UNSUPPORTED"
  | "OMNIQ_INVALID_INPUT"
  | "OMNIQ_INVALID_OPTION"
  | "OMNIQ_LEASE_LOST"
  | "OMNIQ_TASK_NOT_FOUND"
  | "OMNIQ_TASK_FAILED"
  | "OMNIQ_TASK_RETRY"
  | "OMNIQ_TASK_CANCELLED"
  | "OMNIQ_TASK_EXPIRED"
  | "OMNIQ_DEPENDENCY_FAILED"
  | "OMNIQ_SCHEDULE_NOT_FOUND"
  | "OMNIQ_TIMEOUT"
  | "OMNIQ_UNKNOWN_TASK"
  | "OMNIQ_BACKEND_UNAVAILABLE"
  | "OMNIQ_BACKEND_FULL"
  | "OMNIQ_BACKEND_FAILED"
  | "OMNIQ_OUTCOME_UNKNOWN"
  | "OMNIQ_ITEM_DAMAGED"
  | "OMNIQ_SERIALIZATION_FAILED"
  | "OMNIQ_CLOSED";

const retryableCodes: ReadonlySet<OmniQErrorCode> = new Set<OmniQErrorCode>([
  "OMNIQ_BACKEND_UNAVAILABLE",
  "OMNIQ_BACKEND_FULL",
  "OMNIQ_OUTCOME_UNKNOWN",
]);

const brand: unique symbol = Symbol.for("omniq.error") as never;

/** What an error may say beside its message. */
export interface OmniQErrorOptions {
  readonly cause?: unknown;
  /** Default: true for `OMNIQ_BACKEND_UNAVAILABLE`, `OMNIQ_BACKEND_FULL` and `OMNIQ_OUTCOME_UNKNOWN`. */
  readonly retryable?: boolean | undefined;
  /** The task that it is about. */
  readonly taskId?: string | undefined;
  /** For `OMNIQ_TASK_RETRY`: when to try again. */
  readonly delayMs?: number | undefined;
}

/**
 * Every error that OmniQ throws. The message says what happened, to what, and what to do; payloads and passwords never stand in it. Making one
 * never throws: a message that is no text is made into one, a long one is cut to 65,536 characters, and a delay is held within a hundred years.
 */
export class OmniQError<Code extends OmniQErrorCode = OmniQErrorCode> extends Error {
  readonly code: Code;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  readonly taskId?: string;
  readonly delayMs?: number;

  constructor(code: Code, message: string, options: OmniQErrorOptions = {}) {
    super(textOf(message), options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "OmniQError";
    this.code = code;
    this.retryable = options.retryable ?? retryableCodes.has(code);
    if (options.taskId !== undefined) this.taskId = options.taskId;
    const { delayMs } = options;
    if (typeof delayMs === "number" && delayMs >= 0) this.delayMs = Math.min(Math.trunc(delayMs), maxDurationMs);
    Object.defineProperty(this, brand, { value: true });
  }
}

/** True for an OmniQError of any copy of this package, and of this code where one is given. Never throws. */
export function isOmniQError<Code extends OmniQErrorCode = OmniQErrorCode>(
  error: unknown,
  code?: Code,
): error is OmniQError<Code> {
  return (
    typeof error === "object" &&
    error !== null &&
    readProperty(error, brand) === true &&
    (code === undefined || readProperty(error, "code") === code)
  );
}

/** Throw it from a handler: no more attempts, straight to dead letter. */
export function failTask(message: string, options: { readonly cause?: unknown } = {}): OmniQError<"OMNIQ_TASK_FAILED"> {
  return new OmniQError("OMNIQ_TASK_FAILED", message, options);
}

/**
 * Throw it from a handler: try again after this time in place of the policy's. It counts as an attempt.
 * Throws `OMNIQ_INVALID_OPTION` for a time that is not a number from 0 to a hundred years.
 */
export function retryTask(options: {
  readonly delayMs: number;
  readonly cause?: unknown;
}): OmniQError<"OMNIQ_TASK_RETRY"> {
  const delayMs = readProperty(options, "delayMs");
  if (typeof delayMs !== "number" || !(delayMs >= 0 && delayMs <= maxDurationMs)) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `delayMs of retryTask must be a number from 0 to ${maxDurationMs}, not ${typeof delayMs === "number" ? delayMs : typeof delayMs}`,
    );
  }
  const whole = Math.trunc(delayMs);
  return new OmniQError("OMNIQ_TASK_RETRY", `The task asked to be tried again in ${whole} ms`, {
    cause: readProperty(options, "cause"),
    delayMs: whole,
  });
}

/** What a foreign error says, for a message of ours: its own message, cut to a line's length. */
export function reasonOf(thrown: unknown): string {
  return errorMessage(thrown, 500);
}
