// Tasks for the tests of the queue.
import { randomUUID } from "node:crypto";
import type { NewTask } from "@omniq/core";

/** A plain task, but for what is given. */
export function task(given: Partial<NewTask> = {}): NewTask {
  return {
    id: randomUUID(),
    name: "n",
    queue: "q",
    payload: "p",
    envelope: "{}",
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 60_000,
    rememberMs: 600_000,
    ...given,
  };
}
