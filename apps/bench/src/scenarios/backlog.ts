// What a task costs with many waiting: a worker at 100 takes some of them, several times, and the backlog is filled up in between.
import { countFor, drainHere, fill } from "../frame/drain.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";
import { median } from "../measure.ts";

const samples = 5;

/** Microseconds a task with so many waiting, the median of some samples. */
async function cost(run: Run, backlog: number, rate: number): Promise<number> {
  const { ledger, scale } = run;
  const count = Math.min(Math.ceil(backlog * 0.9), countFor(rate, scale.targetMs / 4, run));
  const rates: number[] = [];
  for (let n = 0; n < samples; n++) {
    await fill(run, backlog - ledger.left);
    rates.push((await drainHere(run, 100, count)).rate);
  }
  return 1e6 / median(rates);
}

async function costs(run: Run, backlogs: readonly number[]): Promise<readonly Measured[]> {
  const pilot = 200;
  await fill(run, pilot);
  const { rate } = await drainHere(run, 100, pilot);
  const measures: Measured[] = [];
  for (const backlog of backlogs) {
    const name = `a task at a backlog of ${backlog.toLocaleString("en")}`;
    measures.push({ name, value: await cost(run, backlog, rate), unit: "µs" });
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
