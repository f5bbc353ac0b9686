// A process that works: `worker.js CONFIG JOURNAL QUEUE…`. Poison has workers of its own, as it would have in production.
import { OmniQ } from "@omniq/core";
import { openJournal } from "./journal.ts";
import { patiently } from "./patience.ts";
import { leaseMs, tasks } from "./tasks.ts";
import { watchLeases } from "./watch-leases.ts";

const [config, file, ...queues] = process.argv.slice(2);
if (config === undefined || file === undefined) throw new Error("usage: worker CONFIG JOURNAL QUEUE…");
openJournal(file);
const omniq = await OmniQ.load({ file: config });
await patiently(() => omniq.connect());
watchLeases(omniq.components.taskQueue);
process.once("disconnect", () => process.exit(0));
await omniq.worker({ tasks, queues, concurrency: queues.includes("poison") ? 1 : 8, leaseMs, graceMs: 2_000 }).run();
await omniq.close();
process.disconnect();
