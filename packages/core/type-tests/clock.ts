// A test with a clock of its own: an hour passes at once.
import assert from "node:assert/strict";
import test from "node:test";
import { OmniQ, defineTask } from "@omniq/core";
import { memory } from "@omniq/memory";
const remind = defineTask({ name: "remind", run: () => "done" as const });
test("reminds after an hour", async () => {
  let now = Date.UTC(2026, 0, 1);
  await using omniq = new OmniQ({ taskQueue: memory({ now: () => now }) });
  const worker = omniq.worker({ tasks: [remind] });
  const handle = await omniq.enqueue(remind, undefined, { delayMs: 3_600_000 });
  assert.equal((await worker.drain()).completed, 0);
  now += 3_600_000;
  assert.equal((await worker.drain()).completed, 1);
  assert.equal((await handle.result()) satisfies "done", "done");
});
