// Adding tasks: one after another, by a hundred callers at a time, and in bulk. All are drained afterwards, so that each is counted.
import { drainHere, processorMeasures } from "../frame/drain.ts";
import { startMeter } from "../frame/processor-time.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";

export const callers = 100;

/** Calls `add` again and again until time or tasks are used up; answers with how many it says it added. */
export async function repeat(
  width: number,
  milliseconds: number,
  maxTasks: number,
  add: () => Promise<number>,
): Promise<number> {
  let added = 0;
  const until = performance.now() + milliseconds;
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (performance.now() < until && added < maxTasks) {
        // Not `added += await`: that would read the sum before the wait, and lose what others add meanwhile.
        const more = await add();
        added += more;
      }
    }),
  );
  return added;
}

async function timed(run: Run, name: string, width: number, add: () => Promise<number>): Promise<Measured[]> {
  const { scale, place } = run;
  await repeat(width, scale.warmMs, scale.maxTasks / 4, add);
  const spent = startMeter(place.serverPid);
  const started = performance.now();
  const added = await repeat(width, scale.targetMs, scale.maxTasks, add);
  const seconds = (performance.now() - started) / 1_000;
  const { client, server } = spent();
  return [
    { name, value: added / seconds, unit: "/s" },
    ...processorMeasures(name, client / added, server === undefined ? undefined : server / added),
  ];
}

export const enqueue: Scenario = {
  name: "enqueue",
  about: "adding tasks one by one, by 100 callers, in bulk",
  async run(run) {
    const { queue, ledger } = run;
    const one = async (): Promise<number> => {
      await queue.add(ledger.take(1)[0] as number);
      return 1;
    };
    const bulk = async (): Promise<number> => {
      await queue.addMany(ledger.take(1_000));
      return 1_000;
    };
    const measures = [
      ...(await timed(run, "enqueue one by one", 1, one)),
      ...(await timed(run, `enqueue by ${callers} callers`, callers, one)),
      ...(await timed(run, "enqueue in bulk", 1, bulk)),
    ];
    await drainHere(run, 100, ledger.left);
    return measures;
  },
};
