// What the proofs on PostgreSQL share: the server, and draining through the contract's own verbs.
import type { Lease, Settlement, TaskQueue } from "@omniq/core";

export function serverUrl(): string {
  return process.env["OMNIQ_TEST_POSTGRES_URL"] ?? "postgresql://postgres@127.0.0.1:5432/postgres";
}

export function completion({ taskId, queue, token, run, attempt }: Lease): Settlement {
  return { taskId, queue, token, run, attempt, outcome: "completed", storeResult: true, value: "1" };
}

/** Reserves and settles `count` tasks in calls of `batch`. Gives tasks a second, and the microseconds a task of each call. */
export async function drainQueue(
  queue: TaskQueue,
  count: number,
  batch: number,
): Promise<{ readonly perTask: readonly number[]; readonly rate: number }> {
  const perTask: number[] = [];
  const began = performance.now();
  for (let done = 0; done < count;) {
    const started = performance.now();
    const leases = await queue.reserve({
      queues: ["bench"],
      limit: batch,
      leaseMs: 60_000,
      waitMs: 0,
      worker: "bench",
    });
    if (leases.length === 0) throw new Error(`the queue is empty after ${done} of ${count} tasks`);
    const states = await queue.settle(leases.map(completion));
    if (states.some((state) => state !== "settled")) throw new Error("a settlement was lost");
    perTask.push(((performance.now() - started) * 1_000) / leases.length);
    done += leases.length;
  }
  return { perTask, rate: count / ((performance.now() - began) / 1_000) };
}
