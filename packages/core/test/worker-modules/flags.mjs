// A whole worker, run with flags of Node by worker-pool.test.ts: drains a task with handlers of the kind that is given.
import { OmniQ } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { where } from "./tasks.mjs";

const [databasePath, kind] = process.argv.slice(2);
const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
const handle = await omniq.enqueue(where);
const modules = [new URL("./tasks.mjs", import.meta.url)];
await omniq.worker(kind === "async" ? { tasks: [where] } : { kind, modules, concurrency: 1 }).drain();
console.log(JSON.stringify((await handle.outcome()).status));
await omniq.close();
