// Checks of what users pass as options: every field, and no unknown ones. All throw `OMNIQ_INVALID_OPTION` and name
// the option.
import { maxDurationMs } from "./duration.ts";
import { OmniQError } from "./errors.ts";
import { checkInteger, checkKey, describeType, isWellFormed, maxPriority, minPriority } from "./limits.ts";
import { isInstance } from "./thrown-text.ts";

/** UTF-8 bytes of a task's headers, names and values together. */
export const maxHeaderBytes = 65_536;

const shared = ["queue", "priority", "retry", "timeoutMs", "resultTtlMs", "rememberMs", "headers"];
const ofDefaults = [...shared, "expiresInMs"];
const ofDefinition = [...shared, "delayMs", "expiresInMs", "deduplicate", "group"];
const ofCall = [...ofDefinition, "id", "runAt", "expiresAt", "after", "dependsOn", "transaction", "signal"];

const invalid = (message: string): OmniQError => new OmniQError("OMNIQ_INVALID_OPTION", message);

/** Checks that it is an object without keys other than these. */
export function refuseUnknown(
  value: unknown,
  known: readonly string[],
  what: string,
): asserts value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw invalid(`${what} must be an object, not ${describeType(value)}`);
  for (const key of Object.keys(value)) {
    if (!known.includes(key))
      throw invalid(`${what}: there is no option ${JSON.stringify(key)}; known are ${known.join(", ")}`);
  }
}

/** Checks the client's `defaults`. */
export function checkDefaults(options: unknown): void {
  refuseUnknown(options, ofDefaults, "defaults");
  checkShared(options, "in defaults");
}

/** Checks a definition's options. */
export function checkDefinitionOptions(options: unknown, where: string): void {
  refuseUnknown(options, ofDefinition, `The options ${where}`);
  checkShared(options, where);
  for (const field of ["deduplicate", "group"] as const) {
    const value = options[field];
    if (value === undefined) continue;
    checkKeyed(field, value, where);
    if (typeof value["key"] !== "function")
      throw invalid(`${field}.key ${where} must be a function of the input, not ${describeType(value["key"])}`);
  }
}

/** Checks the options of one task that is enqueued. */
export function checkCallOptions(options: unknown, where: string): void {
  refuseUnknown(options, ofCall, `The options ${where}`);
  checkShared(options, where);
  if (options["id"] !== undefined) checkKey(`id ${where}`, options["id"]);
  for (const [absolute, relative] of [
    ["runAt", "delayMs"],
    ["expiresAt", "expiresInMs"],
  ] as const) {
    if (options[absolute] === undefined) continue;
    checkTime(`${absolute} ${where}`, options[absolute]);
    if (options[relative] !== undefined) throw invalid(`Give ${absolute} or ${relative} ${where}, not both`);
  }
  for (const field of ["deduplicate", "group"] as const) {
    const value = options[field];
    if (value === undefined) continue;
    checkKeyed(field, value, where);
    checkKey(`${field}.key ${where}`, value["key"]);
  }
  if (options["after"] !== undefined && !Array.isArray(options["after"]))
    throw invalid(`after ${where} must be an array of handles and ids`);
}

/** Checks a user's abort signal. */
export function checkSignal(signal: unknown): void {
  if (signal !== undefined && !isInstance(signal, AbortSignal))
    throw invalid(`signal must be an AbortSignal, not ${describeType(signal)}`);
}

/** Checks what says how long to wait. */
export function checkWaitOptions(options: unknown): void {
  refuseUnknown(options, ["timeoutMs", "signal"], "The options of a wait");
  if (options["timeoutMs"] !== undefined) checkInteger("timeoutMs", options["timeoutMs"], 0, 2_147_483_647);
  checkSignal(options["signal"]);
}

/** Checks a list of words of which there are only some. */
export function checkWords(what: string, value: unknown, known: readonly string[]): void {
  if (!Array.isArray(value)) throw invalid(`${what} must be an array of ${known.join(", ")}`);
  for (const word of value as readonly unknown[]) {
    if (typeof word !== "string" || !known.includes(word))
      throw invalid(
        `${what}: there is no ${typeof word === "string" ? JSON.stringify(word.slice(0, 100)) : describeType(word)}; there are ${known.join(", ")}`,
      );
  }
}

/** Milliseconds of a `Date` or a number. */
export function checkTime(what: string, value: unknown): number {
  const time = value instanceof Date ? value.getTime() : value;
  if (typeof time === "number" && Number.isNaN(time))
    throw invalid(`${what} must be a valid date or epoch milliseconds`);
  checkInteger(what, time, 0, 8_640_000_000_000_000);
  return time;
}

function checkKeyed(
  field: "deduplicate" | "group",
  value: unknown,
  where: string,
): asserts value is Record<string, unknown> {
  refuseUnknown(value, field === "group" ? ["key", "limit"] : ["key", "windowMs", "mode"], `${field} ${where}`);
  if (value["limit"] !== undefined) checkInteger(`group.limit ${where}`, value["limit"], 1, 1_000_000);
  if (value["windowMs"] !== undefined)
    checkInteger(`deduplicate.windowMs ${where}`, value["windowMs"], 1, maxDurationMs);
  oneOf(`deduplicate.mode ${where}`, value["mode"], ["keep", "replace", "extend"]);
}

function oneOf(what: string, value: unknown, known: readonly string[]): void {
  if (value !== undefined && !known.includes(value as string))
    throw invalid(`${what} must be one of ${known.join(", ")}`);
}

function checkShared(options: Record<string, unknown>, where: string): void {
  if (options["queue"] !== undefined) checkKey(`queue ${where}`, options["queue"]);
  if (options["priority"] !== undefined)
    checkInteger(`priority ${where}`, options["priority"], minPriority, maxPriority);
  const { timeoutMs, resultTtlMs, rememberMs, delayMs, expiresInMs, retry, headers } = options;
  // Node's timers end at 2^31 - 1 milliseconds; a longer limit would fire at once.
  if (timeoutMs !== undefined && timeoutMs !== null) checkInteger(`timeoutMs ${where}`, timeoutMs, 1, 2_147_483_647);
  if (resultTtlMs !== undefined && resultTtlMs !== null)
    checkInteger(`resultTtlMs ${where}`, resultTtlMs, 0, maxDurationMs);
  if (rememberMs !== undefined) checkInteger(`rememberMs ${where}`, rememberMs, 0, maxDurationMs);
  if (delayMs !== undefined) checkInteger(`delayMs ${where}`, delayMs, 0, maxDurationMs);
  if (expiresInMs !== undefined) checkInteger(`expiresInMs ${where}`, expiresInMs, 1, maxDurationMs);
  if (retry !== undefined) checkRetry(retry, where);
  if (headers !== undefined) checkHeaders(headers, where);
}

function checkRetry(retry: unknown, where: string): void {
  refuseUnknown(retry, ["maxAttempts", "backoff", "delayMs", "factor", "maxDelayMs", "jitter"], `retry ${where}`);
  const { maxAttempts, backoff, delayMs, factor, maxDelayMs, jitter } = retry;
  if (maxAttempts !== undefined) checkInteger(`retry.maxAttempts ${where}`, maxAttempts, 1, 1_000_000);
  oneOf(`retry.backoff ${where}`, backoff, ["exponential", "linear", "fixed"]);
  if (delayMs !== undefined) checkInteger(`retry.delayMs ${where}`, delayMs, 0, maxDurationMs);
  if (maxDelayMs !== undefined) checkInteger(`retry.maxDelayMs ${where}`, maxDelayMs, 0, maxDurationMs);
  checkNumber(`retry.factor ${where}`, factor, 1, 1_000);
  checkNumber(`retry.jitter ${where}`, jitter, 0, 1);
}

function checkNumber(what: string, value: unknown, minimum: number, maximum: number): void {
  if (value === undefined) return;
  if (typeof value !== "number" || !(value >= minimum && value <= maximum))
    throw invalid(`${what} must be a number from ${minimum} to ${maximum}`);
}

function checkHeaders(headers: unknown, where: string): void {
  if (typeof headers !== "object" || headers === null || Array.isArray(headers))
    throw invalid(`headers ${where} must be an object`);
  let bytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    checkKey(`The name of a header ${where}`, name);
    if (typeof value !== "string")
      throw invalid(`The header ${JSON.stringify(name)} ${where} must be a string, not ${describeType(value)}`);
    if (!isWellFormed(value))
      throw invalid(`The header ${JSON.stringify(name)} ${where} has a lone surrogate; it must be well-formed Unicode`);
    bytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  if (bytes > maxHeaderBytes)
    throw invalid(`The headers ${where} have ${bytes} bytes; at most ${maxHeaderBytes} are allowed`);
}
