// Tasks for cases of conduct, of the model and of processes.
import assert from "node:assert/strict";
import type { Lease, NewTask, ReserveRequest, TaskQueue } from "@omniq/core";

/** A plain task of queue `q`. */
export function newTask(id: string, given: Partial<NewTask> = {}): NewTask {
  return {
    id,
    name: "n",
    queue: "q",
    payload: `payload of ${id}`,
    envelope: "{}",
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 60_000,
    rememberMs: 60_000,
    ...given,
  };
}

/** One call for each task, all accepted. */
export async function enqueueAll(queue: TaskQueue, tasks: readonly NewTask[]): Promise<void> {
  for (let i = 0; i < tasks.length; i += Math.min(queue.capabilities.maxBatch, 500)) {
    const part = tasks.slice(i, i + Math.min(queue.capabilities.maxBatch, 500));
    const answers = await queue.enqueue(part.map((task) => ({ tasks: [task] })));
    assert.equal(answers.length, part.length);
    answers.forEach((answer, n) => {
      assert.deepEqual(answer, { state: "accepted", receipts: [{ id: part[n]?.id, state: "enqueued" }] });
    });
  }
}

/** Leases of queue `q`, or as the request says, without waiting. */
export function take(queue: TaskQueue, given: Partial<ReserveRequest> = {}): Promise<readonly Lease[]> {
  return queue.reserve({
    queues: ["q"],
    limit: 10,
    leaseMs: Math.max(60_000, queue.capabilities.minimumLeaseMs),
    waitMs: 0,
    worker: "w",
    ...given,
  });
}
