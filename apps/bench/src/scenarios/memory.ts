// What a waiting task takes: memory of a process that has added it and works beside it, and bytes where it is stored.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { within } from "../frame/deadline.ts";
import { drainHere, fill } from "../frame/drain.ts";
import { resultOf } from "../frame/ledger.ts";
import type { Measured, Scenario } from "../frame/scenario.ts";
import { storedBytes } from "../hosts/host.ts";

/** Of the payloads that are not a number. */
const textLength = 100;

/** Bytes of live objects and of what they hold outside the heap. */
function held(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

export const memory: Scenario = {
  name: "memory",
  about: "bytes of process and store for a waiting task",
  async run(run): Promise<readonly Measured[]> {
    const { queue, ledger, scale, place } = run;
    // Code, connections and empty tables are not counted.
    await fill(run, 1_000);
    await drainHere(run, 100, 1_000);
    const storedBefore = await storedBytes(place);
    const before = held();
    await fill(run, scale.memoryTasks);
    const stored = await storedBytes(place);
    let begin!: () => void;
    let release!: () => void;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const released = new Promise<void>((resolve) => (release = resolve));
    const worker = await queue.work(1, async (payload) => {
      ledger.note(payload);
      begin();
      await released;
      return resultOf(payload);
    });
    await within("the first task to start", begun);
    const after = held();
    const stopped = worker.stop();
    release();
    await stopped;
    const settled = await storedBytes(place);
    if (settled !== undefined) await fill(run, scale.memoryTasks, textLength);
    const texts = await storedBytes(place);
    const bytesATask = (name: string, from: number, to: number): Measured => ({
      name,
      value: Math.max(0, to - from) / scale.memoryTasks,
      unit: "bytes",
    });
    const measures: Measured[] = [bytesATask("memory of the process for a waiting task", before, after)];
    if (stored !== undefined && settled !== undefined && texts !== undefined)
      measures.push(
        bytesATask("stored for a waiting task", storedBefore ?? 0, stored),
        bytesATask(`stored for a waiting task with ${textLength} characters`, settled, texts),
      );
    if (queue.waiting === undefined) await drainHere(run, 100, ledger.left);
    return measures;
  },
};
