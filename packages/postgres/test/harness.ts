// What PostgreSQL's own tests share: schemas and backends that go when a test ends, and a plain task.
import type { Lease, NewTask, Settlement } from "@omniq/core";
import { postgres, type PostgresOptions } from "@omniq/postgres";
import { afterEach } from "vitest";
import { dropSchema } from "./server.ts";

let count = 0;
const schemas: string[] = [];
const backends: ReturnType<typeof postgres>[] = [];
afterEach(async () => {
  for (const backend of backends.splice(0)) await backend.close();
  for (const schema of schemas.splice(0)) await dropSchema(schema);
});

export function newSchema(): string {
  return dropLater(`omniq_test_${process.pid}_${++count}`);
}
/** A schema of any other name, as it stands between quotation marks. */
export function dropLater(schema: string): string {
  schemas.push(schema);
  return schema;
}
export function open(options: PostgresOptions): ReturnType<typeof postgres> {
  const backend = postgres(options);
  backends.push(backend);
  return backend;
}

export const task = (id: string, given: Partial<NewTask> = {}): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload: "p",
  envelope: "e",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: 60_000,
  rememberMs: 60_000,
  ...given,
});

/** The settlement of a lease whose task has completed. */
export const completed = ({ taskId, queue, token, run, attempt }: Lease, value = "v"): Settlement => ({
  taskId,
  queue,
  token,
  run,
  attempt,
  outcome: "completed",
  storeResult: true,
  value,
});
