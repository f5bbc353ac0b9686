// A process that enqueues: `producer.js CONFIG JOURNAL SEED UNTIL`. Notes what was accepted, and what must come of it.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, OmniQ } from "@omniq/core";
import { journal, openJournal, type Expected } from "./journal.ts";
import { patiently } from "./patience.ts";
import { seeded } from "./random.ts";
import { block, flaky, poison, sum, work } from "./tasks.ts";
import { watchLeases } from "./watch-leases.ts";

const [config, file, seed, until] = process.argv.slice(2);
if (config === undefined || file === undefined) throw new Error("usage: producer CONFIG JOURNAL SEED UNTIL");
openJournal(file);
const random = seeded(Number(seed));
const below = (limit: number): number => Math.floor(random() * limit);
const omniq = await OmniQ.load({ file: config });
await patiently(() => omniq.connect());
watchLeases(omniq.components.taskQueue);
process.once("disconnect", () => process.exit(0));

function accepted(task: string, expect: Expected): void {
  journal({ kind: "accepted", task, expect });
}

for (let n = 0; Date.now() < Number(until); n++) {
  const kind = below(100);
  const expect: Expected = { output: n * 2 };
  try {
    if (kind < 50) accepted((await omniq.enqueue(work, { n, ms: below(20) })).id, expect);
    else if (kind < 65) accepted((await omniq.enqueue(flaky, { n, ms: 0 })).id, expect);
    else if (kind < 80) {
      const group = `g${below(4)}`;
      accepted((await omniq.enqueue(work, { n, ms: 5, group }, { group: { key: group } })).id, expect);
    } else if (kind < 90) {
      const delayMs = below(2_000);
      accepted((await omniq.enqueue(work, { n, ms: 0, notBefore: Date.now() + delayMs }, { delayMs })).id, expect);
    } else if (kind < 98) {
      const parts = [work.with({ n, ms: 1 }), work.with({ n: n + 1, ms: 2 })];
      accepted((await omniq.enqueue(sum, { n, ms: 0 }, { dependsOn: { parts } })).id, { output: n * 2 + (n + 1) * 2 });
    } else if (n % 3 === 0) accepted((await omniq.enqueue(poison, { n, ms: 0 })).id, { code: "OMNIQ_LEASE_LOST" });
    else if (n % 7 === 0) accepted((await omniq.enqueue(block, { n, ms: 0 })).id, expect);
    else {
      const many = await omniq.enqueueMany(
        Array.from({ length: 20 }, () => work.with({ n, ms: 0 }, { priority: below(5) })),
      );
      for (const { id } of many) accepted(id, expect);
    }
  } catch (error) {
    // Not accepted, so nothing is promised; anything but an outage is a fault of ours.
    if (!isOmniQError(error) || !error.retryable) throw error;
    await sleep(50);
  }
  await sleep(below(10));
}
await omniq.close();
process.disconnect();
