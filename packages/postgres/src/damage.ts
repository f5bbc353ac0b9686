// What is stored and cannot be read: by whom it was written nobody knows. Each decoder says so of one item, and hides no other.
import type { QueueError, ResultStatus } from "@omniq/core";
import type { Connection } from "./connection.ts";

const statuses: ReadonlySet<unknown> = new Set<ResultStatus>(["completed", "failed", "cancelled", "expired"]);

export function isStatus(value: unknown): value is ResultStatus {
  return statuses.has(value);
}

/** What is said of a damaged item where a result or a dead letter is expected: {@link QueueError} as JSON. */
export function damagedText(what: string): string {
  const error: QueueError = { code: "OMNIQ_ITEM_DAMAGED", message: `What is stored of ${what} cannot be read` };
  return JSON.stringify(error);
}

/** A whole number from `least` on. */
export function isWhole(value: unknown, least = 0): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least;
}

/** Latest time of JavaScript. */
const latest = 8_640_000_000_000_000;
export function isTime(value: unknown): value is number {
  return isWhole(value) && value <= latest;
}

/** At most so many are remembered as told. */
const mostTold = 10_000;

/** Tells of each damaged item once. */
export class Damage {
  readonly #connection: Connection;
  readonly #told = new Set<string>();

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  report(what: "result" | "event" | "schedule", id: string): void {
    const key = `${what} ${id}`;
    if (this.#told.has(key)) return;
    if (this.#told.size >= mostTold) this.#told.clear();
    this.#told.add(key);
    this.#connection.reports.send("error", `A stored ${what} cannot be read`, {
      [what === "result" ? "taskId" : `${what}Id`]: id,
      code: "OMNIQ_ITEM_DAMAGED",
    });
  }
}
