// Twelve workers that end by a signal, a client that nobody closes, and a handler that listens much: the process must end by itself, in silence.
import { OmniQ, defineTask } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";

process.on("exit", () => console.log("exit"));
const omniq = new OmniQ({ taskQueue: sqlite({ databasePath: process.argv[2] }) });
const task = defineTask({
  name: "task",
  run: (_, { signal }) => {
    for (let n = 0; n < 30; n++) signal.addEventListener("abort", () => undefined);
  },
});
const handle = await omniq.enqueue(task);
const running = Array.from({ length: 12 }, () => omniq.worker({ tasks: [task], graceMs: 1_000 }).run());
await handle.result();
console.log("started");
process.kill(process.pid, "SIGTERM");
await Promise.all(running);
console.log("run ended");
