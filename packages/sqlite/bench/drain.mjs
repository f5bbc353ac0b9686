// Measures draining with results at 100 in flight, with a backlog of 10,000 and of 1,000,000, and pick-up in another process.
// Build first, then: node bench/drain.mjs [full|normal] [backlog of the large run]
import { fork } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqlite } from "@omniq/sqlite";

const synchronous = process.argv[2] === "normal" ? "normal" : "full";
const task = (id) => ({
  id,
  name: "n",
  queue: "q",
  payload: '{"to":"someone"}',
  envelope: "{}",
  priority: 0,
  maxAttempts: 5,
  resultTtlMs: 86_400_000,
  rememberMs: 600_000,
});
const request = { queues: ["q"], limit: 100, leaseMs: 30_000, waitMs: 0, worker: "bench" };
const settled = (lease) => ({ ...lease, outcome: "completed", storeResult: true, value: '{"ok":true}' });

async function fill(queue, count, from = 0) {
  for (let index = 0; index < count; index += 10_000) {
    const tasks = Array.from({ length: Math.min(10_000, count - index) }, (_, offset) =>
      task(`t${String(from + index + offset).padStart(12, "0")}`),
    );
    await queue.enqueue([{ tasks }]);
  }
}

async function drain(queue, count) {
  const started = performance.now();
  let done = 0;
  let settlements = [];
  while (done < count) {
    const { leases } = await queue.settleAndReserve(settlements, request);
    done += settlements.length;
    settlements = leases.map(settled);
    if (leases.length === 0 && settlements.length === 0) break;
  }
  await queue.settle(settlements);
  return (done * 1_000) / (performance.now() - started);
}

if (process.env.OMNIQ_BENCH_WORKER !== undefined) {
  const queue = sqlite({ databasePath: process.env.OMNIQ_BENCH_WORKER, synchronous }).taskQueue();
  process.send("up");
  for (;;) {
    const leases = await queue.reserve({ ...request, waitMs: 10_000 });
    const at = performance.timeOrigin + performance.now();
    for (const lease of leases) process.send({ id: lease.taskId, at });
    if (leases.some((lease) => lease.taskId === "end")) break;
    await queue.settle(leases.map(settled));
  }
  await queue.close();
  process.disconnect();
} else {
  const folder = mkdtempSync(join(tmpdir(), "omniq-bench-"));
  const large = Number(process.argv[3] ?? 1_000_000);
  const rates = [];
  for (const backlog of [10_000, large]) {
    const backend = sqlite({ databasePath: join(folder, `drain-${backlog}.db`), synchronous });
    const queue = backend.taskQueue();
    const started = performance.now();
    await fill(queue, backlog + 10_000);
    const bulk = ((backlog + 10_000) * 1_000) / (performance.now() - started);
    const rate = await drain(queue, 10_000);
    rates.push(rate);
    console.log(
      `backlog ${backlog}: bulk enqueue ${Math.round(bulk)}/s, drain at 100 in flight ${Math.round(rate)}/s (${synchronous})`,
    );
    await backend.close();
  }
  console.log(`ratio of the large to the small backlog: ${(rates[1] / rates[0]).toFixed(2)}`);

  const single = sqlite({ databasePath: join(folder, "single.db"), synchronous });
  const queue = single.taskQueue();
  await queue.counts();
  const started = performance.now();
  let next = 0;
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      while (next < 10_000) await queue.enqueue([{ tasks: [task(`s${next++}`)] }]);
    }),
  );
  console.log(
    `100 concurrent callers, one task each: ${Math.round((10_000 * 1_000) / (performance.now() - started))}/s`,
  );
  await single.close();

  const file = join(folder, "wake.db");
  const backend = sqlite({ databasePath: file, synchronous });
  await backend.check();
  const child = fork(import.meta.filename, [synchronous], { env: { ...process.env, OMNIQ_BENCH_WORKER: file } });
  const sent = new Map();
  const delays = [];
  child.on("message", (message) => {
    if (message.id !== undefined && message.id !== "end") delays.push(message.at - sent.get(message.id));
  });
  await new Promise((resolve) => child.once("message", resolve));
  for (let index = 0; index < 100; index++) {
    await new Promise((done) => setTimeout(done, 10 + Math.random() * 20));
    const id = `w${index}`;
    sent.set(id, performance.timeOrigin + performance.now());
    await backend.taskQueue().enqueue([{ tasks: [task(id)] }]);
  }
  await backend.taskQueue().enqueue([{ tasks: [task("end")] }]);
  await new Promise((resolve) => child.once("exit", resolve));
  delays.sort((one, other) => one - other);
  console.log(
    `pick-up in another process: median ${delays[50]?.toFixed(2)} ms, 95 % ${delays[95]?.toFixed(2)} ms, from the call to the lease`,
  );
  await backend.close();
  rmSync(folder, { recursive: true, force: true });
}
