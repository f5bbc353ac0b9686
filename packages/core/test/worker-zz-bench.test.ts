import { test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
test("x", async () => {
  for (const conc of [100, 100, 10, 1]) {
  await using omniq = new OmniQ({ taskQueue: memory({}) });
  const n = 100_000;
  const t = defineTask({ name: "t", input: typeOnly<number>(), run: async (x) => x });
  for (let s = 0; s < n; s += 1000) await omniq.enqueueMany(Array.from({ length: 1000 }, (_, i) => t.with(i)));
  const st = performance.now();
  const r = await omniq.worker({ tasks: [t], concurrency: conc }).drain();
  const ms = performance.now() - st;
  console.log(conc, r.completed, Math.round(n / ms * 1000), "tasks/s");
  }
}, 120000);
