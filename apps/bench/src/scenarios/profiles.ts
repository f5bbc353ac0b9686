// What `pnpm bench --profile` runs: one kind of work each, warmed up, then under the CPU profiler for longer than it is measured.
import { countFor, drainHere, drainMeasures, fill } from "../frame/drain.ts";
import { underProfiler } from "../frame/profile.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";
import { callers, repeat } from "./enqueue.ts";

export interface ProfiledScenario extends Scenario {
  /** The scenario that measures the same work. */
  readonly of: string;
}

/** How many times as long as it is measured. */
const longer = 3;

async function enqueueing(run: Run, name: string, width: number): Promise<readonly Measured[]> {
  const { queue, ledger, scale } = run;
  const add = async (): Promise<number> => {
    await queue.add(ledger.take(1)[0] as number);
    return 1;
  };
  await repeat(width, scale.warmMs, scale.maxTasks / 4, add);
  const started = performance.now();
  const added = await underProfiler(run, () => repeat(width, scale.targetMs * longer, scale.maxTasks * longer, add));
  const seconds = (performance.now() - started) / 1_000;
  await drainHere(run, 100, ledger.left);
  return [{ name, value: added / seconds, unit: "/s" }];
}

export const profiles: readonly ProfiledScenario[] = [
  {
    name: "drain at 100",
    of: "drain",
    about: "draining at 100 under the CPU profiler",
    async run(run) {
      const pilot = run.scale.maxTasks / 5;
      await fill(run, pilot);
      const { rate } = await drainHere(run, 100, pilot);
      const count = countFor(rate, run.scale.targetMs * longer, run);
      await fill(run, count);
      return drainMeasures("drain at 100", await underProfiler(run, () => drainHere(run, 100, count)));
    },
  },
  {
    name: `enqueue by ${callers} callers`,
    of: "enqueue",
    about: `adding tasks by ${callers} callers under the CPU profiler`,
    run: (run) => enqueueing(run, `enqueue by ${callers} callers`, callers),
  },
  {
    name: "enqueue one by one",
    of: "enqueue",
    about: "adding tasks one by one under the CPU profiler",
    run: (run) => enqueueing(run, "enqueue one by one", 1),
  },
];
