// A module of tasks for threads and processes: every task that it exports is worked.
import { threadId } from "node:worker_threads";
import { defineTask, typeOnly } from "@omniq/core";

export const spin = defineTask({
  name: "spin",
  input: typeOnly<{ readonly forMs: number }>(),
  run: ({ forMs }, { attempt }) => {
    const until = performance.now() + forMs;
    while (performance.now() < until);
    return { thread: threadId, attempt };
  },
});
