// Program `crash`: a worker's four steps for one task, killed right after the step that it is told.
import { die, type Program } from "../program.ts";

export type CrashStep = "reserve" | "result" | "settle" | "event";

export interface CrashData {
  readonly queue: string;
  readonly leaseMs: number;
  /** The last step that is done. */
  readonly after: CrashStep;
}

export const crash: Program = async ({ backend, data, say }) => {
  const { queue: name, leaseMs, after } = data as CrashData;
  const queue = backend.taskQueue?.();
  if (queue === undefined) throw new Error("no task queue");
  const [lease] = await queue.reserve({ queues: [name], limit: 1, leaseMs, waitMs: 10_000, worker: "crash" });
  if (lease === undefined) throw new Error("there was no task to crash on");
  const { taskId, token, run, attempt } = lease;
  await say({ taskId, token, run, attempt });
  if (after === "reserve") await die();
  await backend.resultStorage?.().put([
    {
      taskId,
      run,
      attempt,
      name: lease.task.name,
      queue: name,
      status: "completed",
      value: "from the one that died",
      ttlMs: 600_000,
    },
  ]);
  if (after === "result") await die();
  const [state] = await queue.settle([
    {
      taskId,
      queue: name,
      token,
      run,
      attempt,
      outcome: "completed",
      storeResult: false,
      value: "from the one that died",
    },
  ]);
  await say({ settled: state });
  if (after === "settle") await die();
  await backend.eventStorage?.().append([
    {
      id: `${taskId}-completed`,
      at: Date.now(),
      type: "completed",
      taskId,
      taskName: lease.task.name,
      queue: name,
      run,
      attempt,
    },
  ]);
  await say({ appended: true });
  return die();
};
