// `node dist/backlog.js [memory|sqlite] [REPEATS]`: what reserve + settle cost per task with a backlog of ten thousand and of a million.
import type { Backend } from "@omniq/core";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";
import { median, plainTask, withFolder } from "./measure.ts";

/** Microseconds a task, with that many tasks waiting. */
async function cost(backend: Backend, backlog: number): Promise<number> {
  const queue = backend.taskQueue();
  for (let from = 0; from < backlog; from += 5_000) {
    const tasks = Array.from({ length: Math.min(5_000, backlog - from) }, (_, index) =>
      plainTask(orderedId(from + index)),
    );
    await queue.enqueue([{ tasks }]);
  }
  const rounds: number[] = [];
  for (let round = 0; round < 60; round++) {
    const started = performance.now();
    const leases = await queue.reserve({ queues: ["bench"], limit: 100, leaseMs: 30_000, waitMs: 0, worker: "bench" });
    await queue.settle(
      leases.map((lease) => ({ ...reference(lease), outcome: "completed", storeResult: true, value: "1" })),
    );
    rounds.push(((performance.now() - started) * 1_000) / leases.length);
  }
  await backend.close();
  return median(rounds);
}
/** Like the ids that core makes, it grows with time. */
function orderedId(index: number): string {
  return `task-${String(index).padStart(12, "0")}`;
}
function reference({
  taskId,
  queue,
  token,
  run,
  attempt,
}: {
  taskId: string;
  queue: string;
  token: string;
  run: number;
  attempt: number;
}) {
  return { taskId, queue, token, run, attempt };
}

const [only, repeats = "3"] = process.argv.slice(2);
for (const [name, make] of [
  ["memory", () => memory()],
  ["sqlite", (folder: string) => sqlite({ databasePath: `${folder}/bench.db` })],
] as const) {
  if (only !== undefined && only !== name) continue;
  const ratios: number[] = [];
  for (let repeat = 0; repeat < Number(repeats); repeat++) {
    const small = await withFolder((folder) => cost(make(folder), 10_000));
    const large = await withFolder((folder) => cost(make(folder), 1_000_000));
    ratios.push(large / small);
    console.log(`${name}: ${small.toFixed(1)} µs a task at 10,000, ${large.toFixed(1)} µs at 1,000,000`);
  }
  console.log(`${name}: median ratio ${median(ratios).toFixed(2)} (aim: at most 1.5)`);
}
