// A line of the file as text, and back: whatever stands there, reading it gives an answer and never throws.
import type { NewEvent } from "@omniq/core";

/** An event and its number. Numbers only grow, so that they can be cursors. */
export interface Numbered {
  readonly sequence: number;
  readonly event: NewEvent;
}

/** `damaged`: nothing that this version wrote. */
export type Line =
  | { readonly kind: "event"; readonly numbered: Numbered }
  | { readonly kind: "last"; readonly last: number }
  | { readonly kind: "damaged" };

export function lineOf(numbered: Numbered): string {
  return `${JSON.stringify(numbered)}\n`;
}

/** `after`: the number of the line before. Where this one's is not above it, as one of them was spoiled, the next free one takes its place. */
export function decodeLine(text: string, after: number): Line {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { kind: "damaged" };
  }
  if (!isRecord(value)) return { kind: "damaged" };
  const { last, sequence, event } = value;
  if (isNumber(last)) return { kind: "last", last: Math.max(last, after) };
  if (!isEvent(event)) return { kind: "damaged" };
  const number = isNumber(sequence) && sequence > after ? sequence : after + 1;
  return { kind: "event", numbered: { sequence: number, event } };
}

function isEvent(event: unknown): event is NewEvent {
  if (!isRecord(event)) return false;
  const texts = ["id", "type", "taskId", "taskName", "queue"].every((key) => typeof event[key] === "string");
  const numbers = ["run", "attempt"].every((key) => isNumber(event[key])) && Number.isFinite(event["at"]);
  return texts && numbers && (event["data"] === undefined || typeof event["data"] === "string");
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;
/** Far below what numbers can count to, so that one that was spoiled leaves room. */
const isNumber = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 52;
