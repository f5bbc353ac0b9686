// Handlers in threads: tasks come from a module, and what blocks one of them blocks neither the others nor the heartbeats.
import assert from "node:assert/strict";
import { OmniQ } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { spin } from "./thread-tasks.ts";

await using omniq = new OmniQ({ taskQueue: sqlite({ databasePath: "./threads.db" }) });
const worker = omniq.worker({
  kind: "thread",
  modules: [new URL("./thread-tasks.ts", import.meta.url)],
  concurrency: 2,
  leaseMs: 500,
});
const running = worker.run();
const handle = await omniq.enqueue(spin, { forMs: 1_500 });
const { thread, attempt } = await handle.result({ timeoutMs: 60_000 });
assert.ok(thread > 0);
assert.equal(attempt, 1);
process.kill(process.pid, "SIGTERM");
await running;
