// What a task costs with many waiting: a worker at 100 takes a few of them, several times, and the backlog is filled up in between. Processor
// time of client and server, since so few tasks fit into one or two batches of some contestants that the clock says nothing.
import { drainHere, fill } from "../frame/drain.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";
import { median } from "../measure.ts";

const samples = 7;

/** Microseconds a task with so many waiting, the median of some samples. The same number of tasks is taken at every backlog. */
async function cost(run: Run, backlog: number, count: number): Promise<number> {
  const spent: number[] = [];
  for (let n = 0; n < samples; n++) {
    await fill(run, Math.max(0, backlog - run.ledger.left));
    const { client, server = 0 } = await drainHere(run, 100, count);
    spent.push(client + server);
  }
  return median(spent);
}

async function costs(run: Run, backlogs: readonly number[]): Promise<readonly Measured[]> {
  const count = Math.min(900, Math.floor(Math.min(...backlogs) * 0.9));
  // Warm when it counts.
  await fill(run, count);
  await drainHere(run, 100, count);
  const measures: Measured[] = [];
  for (const backlog of backlogs) {
    const name = `processor time a task at a backlog of ${backlog.toLocaleString("en")}`;
    measures.push({ name, value: await cost(run, backlog, count), unit: "µs" });
  }
  // What cannot say how many wait is drained, so that all can be counted.
  if (run.queue.waiting === undefined) await drainHere(run, 100, run.ledger.left);
  return measures;
}

export const backlog: Scenario = {
  name: "backlog",
  about: "what a task costs with 1,000, 10,000 and 100,000 waiting",
  run: async (run) => await costs(run, run.scale.backlogs),
};

/** Filling takes a minute or so for some, hence only when named. */
export const million: Scenario = {
  name: "million",
  about: "what a task costs with 10,000 and a million waiting",
  onDemand: true,
  run: async (run) => await costs(run, [run.scale.million / 100, run.scale.million]),
};
