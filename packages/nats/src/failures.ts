// What goes wrong at a NATS server, as OmniQ's errors: away, full, or broken for good.
import { isOmniQError, OmniQError } from "@omniq/core";
import { JetStreamApiError } from "@nats-io/jetstream";

/** Codes of the JetStream API (server/errors.json of nats-server). */
export const apiCodes = {
  streamNotFound: 10_059,
  consumerNotFound: 10_014,
  noMessageFound: 10_037,
  sequenceNotFound: 10_043,
  streamNameInUse: 10_058,
  subjectsOverlap: 10_065,
  wrongLastSequence: 10_071,
} as const;
const fullCodes: ReadonlySet<number> = new Set([10_002, 10_023, 10_028, 10_047, 10_077]);
/** The stream or the API has no leader just now, or the server is starting or closing. */
const awayCodes: ReadonlySet<number> = new Set([10_005, 10_008, 10_009, 10_119, 10_118]);

/** True for an answer of the JetStream API with one of these codes. */
export function isApiError(error: unknown, ...codes: readonly number[]): error is JetStreamApiError {
  return error instanceof JetStreamApiError && (codes.length === 0 || codes.includes(error.code));
}

/** Turns whatever the client threw into an OmniQError; `what` says what was tried. */
export function natsFailure(error: unknown, what: string): OmniQError {
  if (isOmniQError(error)) return error;
  if (isApiError(error)) return apiFailure(error.code, error.status, error.message, what, error);
  const name = error instanceof Error ? error.name : "";
  if (name === "AuthorizationError" || name === "UserAuthenticationExpiredError") {
    return new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `${what}: the NATS server refused the credentials; check username and password, token or credentials`,
      { cause: error },
    );
  }
  // A request that was refused has it as its cause.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause.name : "";
  if (name === "PermissionViolationError" || cause === "PermissionViolationError") {
    return new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `${what}: the NATS user lacks a permission; which ones it needs is in the README of @omniq/nats, under "Rights of a user"`,
      { cause: error },
    );
  }
  if (name === "JetStreamNotEnabled") {
    // A server that is starting says the same for a moment, so it is worth another try.
    return new OmniQError(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what}: JetStream does not answer; it is off (nats-server -js turns it on), or the server is starting`,
      { cause: error },
    );
  }
  const reason = error instanceof Error && error.message !== "" ? ` (${error.message})` : "";
  return new OmniQError(
    "OMNIQ_BACKEND_UNAVAILABLE",
    `${what}: the NATS server is away or did not answer in time${reason}`,
    { cause: error },
  );
}

/** An error answer of the JetStream API or of a publish. */
export function apiFailure(code: number, status: number, text: string, what: string, cause?: unknown): OmniQError {
  const options = cause === undefined ? {} : { cause };
  if (fullCodes.has(code))
    return new OmniQError("OMNIQ_BACKEND_FULL", `${what}: the NATS server has no room left (${text})`, options);
  if (awayCodes.has(code) || status === 503 || status === 504)
    return new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", `${what}: JetStream is not ready (${text})`, options);
  return new OmniQError("OMNIQ_BACKEND_FAILED", `${what}: JetStream refused it (${text}, code ${code})`, options);
}
