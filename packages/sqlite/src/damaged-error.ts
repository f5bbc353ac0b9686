// The error texts of what could not be read.
import type { QueueError } from "@omniq/core";

function damagedError(what: string): string {
  const error: QueueError = { code: "OMNIQ_ITEM_DAMAGED", message: `What is stored of this ${what} can't be read` };
  return JSON.stringify(error);
}

export const damagedTaskError: string = damagedError("task");
export const damagedResultError: string = damagedError("result");
