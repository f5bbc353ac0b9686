// Enqueues something small, something that does not fit, and something small, and prints what it was told.
import { file } from "../dist/index.js";

const task = (id, payload) => ({
  id,
  name: "n",
  queue: "q",
  payload,
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 60_000,
});
const backend = file({ baseDir: process.argv[2] });
const queue = backend.taskQueue();
const [before] = await queue.enqueue([{ tasks: [task("before", "p")] }]);
const full = await queue.enqueue([{ tasks: [task("full", "x".repeat(200_000))] }]).then(
  () => "accepted",
  ({ code, retryable }) => ({ code, retryable }),
);
const [after] = await queue.enqueue([{ tasks: [task("after", "p")] }]);
console.log(JSON.stringify({ before: before.state, full, after: after.state }));
await backend.close();
