// What a task costs with many waiting: a worker at 100 is let through a few of them, several times, and the backlog is filled up in between.
// Processor time of client and server, since so few tasks are a batch or two for some contestants that the clock says little.
import { setTimeout as sleep } from "node:timers/promises";
import { fill } from "../frame/drain.ts";
import { Gate } from "../frame/gate.ts";
import { startMeter } from "../frame/processor-time.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";

const samples = 9;
/** By then what was let through is settled, and as much is leased again; whoever is done idles. */
const settledMs = 150;
/** The same at every backlog: half of the smallest, so that what is leased ahead can be filled up. */
const shareTaken = 0.5;

async function costs(
  run: Run,
  backlogs: readonly number[],
  named: (backlog: string) => string,
): Promise<readonly Measured[]> {
  const { queue, ledger, place } = run;
  const count = Math.min(500, Math.floor(Math.min(...backlogs) * shareTaken));
  const gate = new Gate(ledger);
  const worker = await queue.work(100, gate.handle);
  const measures: Measured[] = [];
  for (const backlog of backlogs) {
    let spent = 0;
    // The first sample warms up.
    for (let sample = 0; sample <= samples; sample++) {
      await fill(run, Math.max(0, backlog - ledger.left));
      const meter = startMeter(place.serverPid);
      await gate.let(count);
      // Whoever leases ahead and settles in batches does most of its work behind the last handler.
      await sleep(settledMs);
      const { client, server = 0 } = meter();
      if (sample > 0) spent += client + server;
    }
    const name = `processor time a task ${named(backlog.toLocaleString("en"))}`;
    measures.push({ name, value: spent / (samples * count), unit: "µs" });
  }
  const stopped = worker.stop();
  gate.release();
  await stopped;
  return measures;
}

export const backlog: Scenario = {
  name: "backlog",
  about: "what a task costs with 1,000, 10,000 and 100,000 waiting",
  fits: (_contestant, queue) => queue.waiting !== undefined,
  run: async (run) => await costs(run, run.scale.backlogs, (backlog) => `at a backlog of ${backlog}`),
};

/** Filling takes a minute or so for some, hence only when named. */
export const million: Scenario = {
  name: "million",
  about: "what a task costs with 10,000 and a million waiting",
  onDemand: true,
  fits: (_contestant, queue) => queue.waiting !== undefined,
  run: async (run) =>
    await costs(run, [run.scale.million / 100, run.scale.million], (backlog) => `with ${backlog} waiting`),
};
