// Dead letters that a queue decides by itself are logged where they are recorded: no hook of a worker ever sees them.
import { expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";

test("lost leases and failed dependencies are logged with task and error, without payload", async () => {
  let now = Date.UTC(2026, 0, 1);
  const taskQueue = memory({ now: () => now });
  const lines: [level: string, message: string, fields: Readonly<Record<string, unknown>> | undefined][] = [];
  const at = (level: string) => (message: string, fields?: Readonly<Record<string, unknown>>) =>
    void lines.push([level, message, fields]);
  const logger = { debug() {}, info() {}, warn: at("warn"), error: at("error") };
  await using omniq = new OmniQ({ taskQueue, logger });
  const crashes = defineTask({ name: "crashes", input: typeOnly<string>(), run: (text) => text });
  const after = defineTask({ name: "after", input: typeOnly<string>(), dependsOn: { crashes }, run: (text) => text });
  const handle = await omniq.enqueue(after, "hunter2", { dependsOn: { crashes: crashes.with("hunter2") } });
  const queue = omniq.worker({ tasks: [after], upkeep: false });
  for (let expiry = 0; expiry < 3; expiry++) {
    await taskQueue.taskQueue().reserve({ queues: ["default"], limit: 1, leaseMs: 1_000, waitMs: 0, worker: "dies" });
    now += 10_000;
    await taskQueue.taskQueue().sweep(100);
    now += 10_000;
  }
  await queue.drain();
  for (let round = 0; round < 3; round++) await omniq.scheduler().tick();
  await expect(handle.result()).rejects.toMatchObject({ code: "OMNIQ_DEPENDENCY_FAILED" });
  const letters = lines.filter(([, message]) => message.startsWith("A task is a dead letter"));
  expect(letters).toMatchObject(
    [
      ["error", {}, { name: "crashes", queue: "default", run: 1, error: { code: "OMNIQ_LEASE_LOST" } }],
      ["warn", {}, { name: "after", taskId: handle.id, run: 1, error: { code: "OMNIQ_DEPENDENCY_FAILED" } }],
    ].map(([level, , fields]) => [level, expect.any(String), fields]),
  );
  expect(JSON.stringify(lines)).not.toContain("hunter2");
});
