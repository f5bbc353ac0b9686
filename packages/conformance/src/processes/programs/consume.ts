// Program `consume`: leases, settles and records everything, until nothing came for a while.
import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryRecord } from "../history.ts";
import { stamp, type Program } from "../program.ts";

export interface ConsumeData {
  readonly name: string;
  readonly queues: readonly string[];
  readonly limit: number;
  readonly leaseMs: number;
  /** How long a reserve waits; the first that waits for nothing ends the program. */
  readonly waitMs: number;
  /** How long a task is "worked on". */
  readonly workMs: number;
  /** Every so many-th lease is released, retried; 0 for never. */
  readonly releaseEvery: number;
  readonly retryEvery: number;
}

export const consume: Program = async ({ backend, data, say }) => {
  const { name, queues, limit, leaseMs, waitMs, workMs, releaseEvery, retryEvery } = data as ConsumeData;
  const queue = backend.taskQueue?.();
  if (queue === undefined) throw new Error("no task queue");
  const records: HistoryRecord[] = [];
  await say("ready");
  for (let count = 0; ;) {
    const sentAt = stamp();
    const leases = await queue.reserve({ queues, limit, leaseMs, waitMs, worker: name });
    const plain = leases.map(({ taskId, queue: of, token, run, attempt, dependencies }) => ({
      taskId,
      queue: of,
      token,
      run,
      attempt,
      dependencies: dependencies.map((dependency) => ({ taskId: dependency.taskId, status: dependency.status })),
    }));
    records.push({
      process: name,
      sentAt,
      answeredAt: stamp(),
      verb: "reserve",
      queues,
      limit,
      leaseMs,
      leases: plain,
    });
    if (leases.length === 0) return records;
    if (workMs > 0) await sleep(workMs);
    const settlements = plain.map(({ taskId, queue: of, token, run, attempt }, i) => {
      const n = count + i + 1;
      const lease = { taskId, queue: of, token, run, attempt };
      if (releaseEvery > 0 && n % releaseEvery === 0) return { ...lease, outcome: "release" } as const;
      if (retryEvery > 0 && n % retryEvery === 0 && attempt < 3)
        return { ...lease, outcome: "retry", delayMs: 1, error: "again" } as const;
      return { ...lease, outcome: "completed", storeResult: false, value: `${name}` } as const;
    });
    count += plain.length;
    const settleSentAt = stamp();
    const states = await queue.settle(settlements);
    const answeredAt = stamp();
    settlements.forEach((settlement, i) => {
      records.push({
        process: name,
        sentAt: settleSentAt,
        answeredAt,
        verb: "settle",
        taskId: settlement.taskId,
        token: settlement.token,
        run: settlement.run,
        outcome: settlement.outcome,
        state: states[i] ?? "lost",
      });
    });
  }
};
