// Draining what waits at several concurrencies, by one process and by two.
import { drainByProcesses } from "../frame/crew.ts";
import { countFor, drainHere, drainMeasures, fill } from "../frame/drain.ts";
import type { Measured, Scenario } from "../frame/scenario.ts";

export const drain: Scenario = {
  name: "drain",
  about: "draining at concurrency 1, 10 and 100, by one process and by two",
  async run(run): Promise<readonly Measured[]> {
    const { scale, contestant } = run;
    const measures: Measured[] = [];
    let rate = 300;
    for (const concurrency of [1, 10, 100]) {
      // A short drain first, which warms up and says how many tasks make a second or so.
      for (const milliseconds of concurrency === 1 ? [scale.targetMs / 4, scale.targetMs / 2] : [scale.targetMs / 4]) {
        const pilot = countFor(rate, milliseconds, run);
        await fill(run, pilot);
        ({ rate } = await drainHere(run, concurrency, pilot));
      }
      const count = countFor(rate, scale.targetMs, run);
      await fill(run, count);
      const drained = await drainHere(run, concurrency, count);
      rate = drained.rate;
      measures.push(...drainMeasures(`drain at ${concurrency}`, drained));
      if (!contestant.shared) continue;
      // The processes are new: they have their warm-up before the clock runs.
      const [warm, shared] = [countFor(rate, scale.warmMs, run), countFor(rate, scale.targetMs, run)];
      await fill(run, warm + shared);
      const together = await drainByProcesses(run, concurrency, 2, warm, shared);
      measures.push(...drainMeasures(`drain at ${concurrency} by 2 processes`, together));
    }
    return measures;
  },
};
