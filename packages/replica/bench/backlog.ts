// How reserve and settle scale with the backlog: run with `node packages/replica/bench/backlog.ts` over a built `dist` (Node 22.18 and later).
import { apply, createState } from "../dist/index.js";

const task = (id: number) => ({
  id: `task-${id}`,
  name: "n",
  queue: "q",
  payload: "{}",
  envelope: "{}",
  priority: id % 3,
  maxAttempts: 3,
  resultTtlMs: 0,
  rememberMs: 600_000,
});
function measure(backlog: number): { readonly perTaskUs: number; readonly bytes: number } {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const state = createState();
  for (let id = 0; id < backlog; id += 1_000) {
    apply(
      state,
      { verb: "enqueue", calls: [{ tasks: Array.from({ length: 1_000 }, (_, index) => task(id + index)) }] },
      1_000 + id,
      `e${id}`,
    );
  }
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / backlog;
  const rounds = 80;
  // Processor time, so that what else the machine does counts little.
  const started = process.cpuUsage();
  for (let round = 0; round < rounds; round++) {
    const leases = apply(
      state,
      { verb: "reserve", queues: ["q"], limit: 100, leaseMs: 30_000, worker: "w" },
      2_000_000,
      `r${round}`,
    );
    if (leases.length !== 100) throw new Error("too few leases");
    apply(
      state,
      {
        verb: "settle",
        settlements: leases.map((lease) => ({ ...lease, outcome: "completed" as const, storeResult: false })),
      },
      2_000_000,
      `s${round}`,
    );
  }
  const used = process.cpuUsage(started);
  return { perTaskUs: (used.user + used.system) / (rounds * 100), bytes };
}
measure(10_000);
for (const backlog of [10_000, 100_000, 1_000_000]) {
  const runs = Array.from({ length: 5 }, () => measure(backlog));
  const best = Math.min(...runs.map(({ perTaskUs }) => perTaskUs));
  console.log(
    `${backlog} waiting: reserve + settle ${best.toFixed(2)} us a task, ${Math.round(runs[0]?.bytes ?? 0)} bytes a task`,
  );
}
