// Waits for all kinds of things, closes, and says how long it took until the process could end.
import { file } from "@omniq/file";

const backend = file({ baseDir: process.argv[2] });
const queue = backend.taskQueue();
await queue.counts();
const swallow = () => undefined;
queue.reserve({ queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 600_000, worker: "w" }).catch(swallow);
backend
  .resultStorage()
  .wait([{ taskId: "a", run: 1 }], 600_000)
  .catch(swallow);
// Nobody ends this one.
backend.eventStorage().tail({})[Symbol.asyncIterator]().next().catch(swallow);
await new Promise((resolve) => setTimeout(resolve, 200));
const begun = performance.now();
process.on("exit", () => process.stdout.write(String(Math.round(performance.now() - begun))));
await backend.close();
