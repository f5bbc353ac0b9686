// The limits that every backend keeps, and the checks that core makes before anything is sent.
import { OmniQError } from "./errors.ts";

/** UTF-8 bytes of ids, task names, queue names and keys. */
export const maxKeyBytes = 255;
/** UTF-8 bytes of a payload, a result or an event's data that every backend takes; some take more. */
export const commonPayloadBytes = 524_288;
export const minPriority = -1_000;
export const maxPriority = 1_000;

const wellFormed = /^\P{Surrogate}*$/u;

/** True for well-formed Unicode (no lone surrogates), as every store keeps it. */
export function isWellFormed(text: string): boolean {
  return wellFormed.test(text);
}

/** Checks an id, a name or a key; `what` names it in the error. Throws `OMNIQ_INVALID_OPTION`. */
export function checkKey(what: string, value: unknown): asserts value is string {
  if (typeof value !== "string")
    throw new OmniQError("OMNIQ_INVALID_OPTION", `${what} must be a string, not ${describeType(value)}`);
  if (value.length === 0) throw new OmniQError("OMNIQ_INVALID_OPTION", `${what} must not be empty`);
  const bytes = Buffer.byteLength(value);
  if (bytes > maxKeyBytes)
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `${what} has ${bytes} bytes of UTF-8; at most ${maxKeyBytes} are allowed`,
    );
  if (value.includes("\0")) throw new OmniQError("OMNIQ_INVALID_OPTION", `${what} must not contain NUL`);
  if (!isWellFormed(value))
    throw new OmniQError("OMNIQ_INVALID_OPTION", `${what} has a lone surrogate; it must be well-formed Unicode`);
}

/** Checks a whole number in a range. Throws `OMNIQ_INVALID_OPTION`. */
export function checkInteger(
  what: string,
  value: unknown,
  minimum: number,
  maximum: number = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < minimum || value > maximum) {
    const range = maximum === Number.MAX_SAFE_INTEGER ? `of at least ${minimum}` : `from ${minimum} to ${maximum}`;
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `${what} must be a whole number ${range}, not ${typeof value === "number" ? value : describeType(value)}`,
    );
  }
}

/** The kind of a value for a message, never the value itself. */
export function describeType(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return value === undefined ? "undefined" : `${/^[aeiou]/.test(typeof value) ? "an" : "a"} ${typeof value}`;
}
