import { apply, createState } from "../dist/index.js";
const task = (id) => ({
  id: `task-${id}`,
  name: "n",
  queue: "q",
  payload: "{}",
  envelope: "{}",
  priority: id % 3,
  maxAttempts: 3,
  resultTtlMs: 0,
  rememberMs: 6e5,
});
function measure(backlog) {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  const state = createState();
  for (let id = 0; id < backlog; id += 1e3) {
    apply(
      state,
      { verb: "enqueue", calls: [{ tasks: Array.from({ length: 1e3 }, (_, index) => task(id + index)) }] },
      1e3 + id,
      `e${id}`,
    );
  }
  globalThis.gc?.();
  const bytes = (process.memoryUsage().heapUsed - before) / backlog;
  const rounds = 80;
  const started = process.cpuUsage();
  for (let round = 0; round < rounds; round++) {
    const leases = apply(
      state,
      { verb: "reserve", queues: ["q"], limit: 100, leaseMs: 3e4, worker: "w" },
      2e6,
      `r${round}`,
    );
    if (leases.length !== 100) throw new Error("too few leases");
    apply(
      state,
      {
        verb: "settle",
        settlements: leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: false })),
      },
      2e6,
      `s${round}`,
    );
  }
  const used = process.cpuUsage(started);
  return { perTaskUs: (used.user + used.system) / (rounds * 100), bytes };
}
measure(1e4);
for (const backlog of (process.env.B ?? "10000,1000000").split(",").map(Number)) {
  const runs = Array.from({ length: 5 }, () => measure(backlog));
  const best = Math.min(...runs.map(({ perTaskUs }) => perTaskUs));
  console.log(
    `${backlog} waiting: reserve + settle ${best.toFixed(2)} us a task, ${Math.round(runs[0]?.bytes ?? 0)} bytes a task`,
  );
}
