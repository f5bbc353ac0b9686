// Pieces of the total functions that read stored texts: each says what is wrong as `OMNIQ_ITEM_DAMAGED`, and nothing else is ever thrown.
import { OmniQError } from "./errors.ts";

/** The error of a stored text that cannot be read. `what` names it, never its content. */
export function damaged(what: string, reason: string, taskId?: string): OmniQError<"OMNIQ_ITEM_DAMAGED"> {
  return new OmniQError("OMNIQ_ITEM_DAMAGED", `${what} cannot be read: ${reason}`, { taskId });
}

/** The object that a text of JSON holds. */
export function parseObject(text: unknown, what: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text as string);
  } catch {
    throw damaged(what, "it is not JSON");
  }
  if (!isRecord(value)) throw damaged(what, "it is not an object");
  return value;
}

/** Refuses a version that this one does not write. */
export function checkVersion(version: unknown, known: number, what: string): void {
  if (version === known) return;
  throw damaged(
    what,
    typeof version === "number" && version > known
      ? `it was written by a newer version of OmniQ (format ${version}, this one reads ${known}); update this one`
      : "it has no version",
  );
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isWhole(value: unknown, minimum: number, maximum: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= minimum && value <= maximum;
}

export function isBetween(value: unknown, minimum: number, maximum: number): value is number {
  return typeof value === "number" && value >= minimum && value <= maximum;
}
