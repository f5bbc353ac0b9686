// Tasks that run in threads and processes in the worker's tests.
import { isMainThread, threadId } from "node:worker_threads";
import { allowFailure, defineTask, failTask } from "@omniq/core";

export const where = defineTask({ name: "where", run: () => ({ pid: process.pid, isMainThread, threadId }) });
export const spin = defineTask({
  name: "spin",
  timeoutMs: 300,
  retry: { maxAttempts: 1 },
  run: () => {
    for (;;);
  },
});
export const block = defineTask({
  name: "block",
  run: (_, { attempt }) => {
    const end = Date.now() + 900;
    while (Date.now() < end);
    return attempt;
  },
});
export const dead = defineTask({
  name: "dead",
  run: () => {
    throw failTask("dead", { cause: new TypeError("why") });
  },
});
export const exits = defineTask({
  name: "exits",
  retry: { maxAttempts: 1 },
  run: () => {
    process.exit(3);
  },
});
export const waits = defineTask({
  name: "waits",
  run: (_, { signal, progress }) =>
    new Promise((_resolve, reject) => {
      progress(0.25, "waiting");
      signal.addEventListener("abort", () => reject(signal.reason));
    }),
});
export const child = defineTask({ name: "child", run: () => "born" });
export const parent = defineTask({
  name: "parent",
  run: async (_, { enqueue, enqueueMany, log, progress }) => {
    log.info("said in the thread");
    progress(0.5, "half");
    const one = await enqueue(child);
    const many = await enqueueMany([child.with(), child.with()]);
    return [await one.result(), many.length];
  },
});
export const bulk = defineTask({ name: "bulk" }).implementBatch({ maxSize: 4, maxWaitMs: 20 }, (tasks) =>
  tasks.map(({ id }, index) => (id === "bulk-1" ? failTask(id) : index)),
);
const typed = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
export const double = defineTask({
  name: "double",
  input: typed,
  retry: { maxAttempts: 1 },
  run: ({ n }) => {
    if (n < 0) throw failTask("too small", { cause: new RangeError("below zero") });
    return { n: 2 * n, at: new Date(n), big: BigInt(n) };
  },
});
export const total = defineTask({
  name: "total",
  input: typed,
  dependsOn: { parts: [double], maybe: allowFailure(double) },
  run: ({ bonus }, { dependencies: { parts, maybe } }) => ({
    sum: parts.reduce((sum, { n }) => sum + n, bonus),
    dates: parts.every(({ at, big }) => at instanceof Date && typeof big === "bigint"),
    maybe:
      maybe.status === "failed"
        ? `${maybe.error.code} ${maybe.error.message} ${maybe.error.cause?.message}`
        : maybe.output.n,
  }),
});
export const flow = defineTask({
  name: "flow",
  run: async (_, { enqueue }) => {
    const first = await enqueue(double, { n: 1 });
    const handle = await enqueue(
      total,
      { bonus: 100 },
      {
        dependsOn: { parts: [first, double.with({ n: 2 }), double.with({ n: 3 })], maybe: double.with({ n: -1 }) },
      },
    );
    return await handle.result();
  },
});
