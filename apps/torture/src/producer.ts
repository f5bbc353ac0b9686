// A process that enqueues: `producer.js CONFIG JOURNAL SEED UNTIL`.
import { OmniQ } from "@omniq/core";
import { openJournal } from "./journal.ts";
import { patiently } from "./patience.ts";
import { produce } from "./produce.ts";
import { watchLeases } from "./watch-leases.ts";

const [config, file, seed, until] = process.argv.slice(2);
if (config === undefined || file === undefined) throw new Error("usage: producer CONFIG JOURNAL SEED UNTIL");
openJournal(file);
const omniq = await OmniQ.load({ file: config });
await patiently(() => omniq.connect());
watchLeases(omniq.components.taskQueue);
process.once("disconnect", () => process.exit(0));
await produce(omniq, { seed: Number(seed), until: Number(until), poison: true });
await omniq.close();
process.disconnect();
