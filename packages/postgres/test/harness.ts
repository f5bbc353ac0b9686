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

const request = { queues: ["q"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "w" };
/** Every verb of every component, once. */
export async function useAll(backend: ReturnType<typeof postgres>): Promise<void> {
  const [queue, results] = [backend.taskQueue(), backend.resultStorage()];
  const [events, schedules] = [backend.eventStorage(), backend.scheduleStorage()];
  const event = { id: "e", at: 1, type: "log", taskId: "a", taskName: "n", queue: "q", run: 1, attempt: 1 } as const;
  const many = Array.from({ length: 12 }, (_value, index) => task(`many${index}`));
  await queue.enqueue([{ tasks: [task("a")] }]);
  await queue.enqueue([{ tasks: many, events: [event] }]);
  await queue.enqueue([
    { tasks: [task("k", { deduplicate: { key: "k", mode: "replace" }, group: { key: "g", limit: 1 } })] },
  ]);
  await queue.enqueue([{ tasks: [task("child", { dependencies: [{ taskId: "a", onFailure: "run" }] })] }]);
  await queue.configureQueue("q", { maxActive: 100, rateLimit: { limit: 100, windowMs: 1 } });
  const leases = await queue.reserve(request);
  await queue.extend(leases, 30_000);
  await queue.settle(leases.slice(0, 5).map((lease) => completed(lease)));
  await queue.settleAndReserve(
    leases.slice(5).map((lease) => completed(lease)),
    request,
  );
  await queue.pause("q");
  await queue.resume("q");
  await queue.cancel(["k", "a"]);
  for (const { taskId, run } of await queue.unrecorded(10)) await queue.record([{ taskId, run }]);
  await queue.get(["a", "child"]);
  await queue.list({ queue: "q", states: ["ready", "active", "failed"] }, {});
  await queue.counts();
  await queue.counts(["q"]);
  await queue.retry(["a"]);
  await queue.remove(["child"]);
  await queue.purge("q", ["ready"]);
  await queue.sweep(100);
  await results.put([
    { taskId: "r", run: 1, attempt: 1, name: "n", queue: "q", status: "completed", finishedAt: 1, ttlMs: 1 },
  ]);
  await results.get(["r"]);
  await results.list({ queue: "q" }, {});
  await results.delete(["r"]);
  await results.sweep(10);
  await events.append([{ ...event, id: "f" }]);
  await events.query({ queue: "q", types: ["log"] }, {});
  for await (const one of events.tail({}, "start")) if (one.id === "f") break;
  await events.sweep(10);
  const schedule = { id: "s", rule: "{}", template: "{}", nextAt: 1, runs: 0, paused: false };
  const put = await schedules.put(schedule, undefined);
  await schedules.due(10);
  await schedules.get(["s"]);
  await schedules.list({});
  await schedules.advance("s", put?.revision ?? "", { nextAt: 2, runs: 1 });
  await schedules.delete(["s"]);
  await backend.check();
}
