// A worker process: `run()` until a signal; says what it does in lines. Run by worker-signals.test.ts.
import { OmniQ, defineTask } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";

const [databasePath, workMs] = process.argv.slice(2);
const slow = defineTask({
  name: "slow",
  run: async (_, { signal }) => {
    console.log("started");
    await new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, Number(workMs));
      signal.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    });
    console.log("finished");
    return "done";
  },
});
const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
await omniq.worker({ tasks: [slow], concurrency: 1 }).run();
await omniq.close();
console.log("closed");
