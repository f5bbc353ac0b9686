// A worker process of the mill: `node worker.js CONFIG`. Stops on SIGTERM, or when its parent goes away.
import { OmniQ } from "@omniq/core";
import { tasks } from "./tasks.ts";
import { leaseOf } from "./workers.ts";

const [file] = process.argv.slice(2);
if (file === undefined) throw new Error("usage: worker CONFIG");
const omniq = await OmniQ.load({ file });
const worker = omniq.worker({ tasks, concurrency: 4, leaseMs: leaseOf(omniq) });
process.once("disconnect", () => void worker.stop({ graceMs: 1_000 }).then(() => process.exit(0)));
await worker.run();
await omniq.close();
process.disconnect?.();
