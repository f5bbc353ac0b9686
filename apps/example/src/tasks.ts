// The mill's tasks: measure one file, sum up all of them, and take stock while it runs.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, typeOnly } from "@omniq/core";
import { measure, type Measurement } from "./measure.ts";

/** A step that fails now and then, the same way in every run: one first attempt in eight. */
function unsteadyStep(path: string, attempt: number): void {
  const first = createHash("sha256").update(path).digest()[0] ?? 0;
  if (attempt === 1 && first % 8 === 0) throw new Error("the unsteady step failed; the task will be tried again");
}

export const measureFile = defineTask({
  name: "measure-file",
  queue: "mill",
  input: typeOnly<{ readonly root: string; readonly path: string; readonly slowMs: number }>(),
  output: typeOnly<Measurement>(),
  retry: { maxAttempts: 5, backoff: "fixed", delayMs: 100 },
  run: async ({ root, path, slowMs }, { attempt, signal, progress }) => {
    if (slowMs > 0) await sleep(slowMs, undefined, { signal });
    const measurement = await measure(root, path);
    progress(0.5, "measured");
    unsteadyStep(path, attempt);
    return measurement;
  },
});

export interface Summary {
  readonly files: number;
  readonly bytes: number;
  readonly lines: number;
  readonly words: number;
  readonly links: number;
  readonly distinct: number;
  readonly largest: string;
}

export const summarize = defineTask({
  name: "summarize",
  queue: "mill",
  dependsOn: { measurements: [measureFile] },
  output: typeOnly<Summary>(),
  run: (_input, { dependencies: { measurements } }) => {
    const sum = (pick: (one: Measurement) => number): number =>
      measurements.reduce((total, one) => total + pick(one), 0);
    const largest = measurements.reduce<Measurement | undefined>(
      (most, one) => (most === undefined || one.bytes > most.bytes ? one : most),
      undefined,
    );
    return {
      files: measurements.length,
      bytes: sum((one) => one.bytes),
      lines: sum((one) => one.lines),
      words: sum((one) => one.words),
      links: sum((one) => one.links),
      distinct: new Set(measurements.map((one) => one.sha256)).size,
      largest: largest?.path ?? "",
    };
  },
});

export const takeStock = defineTask({
  name: "take-stock",
  queue: "mill",
  priority: 10,
  output: typeOnly<{ readonly at: number; readonly residentMb: number }>(),
  run: () => ({ at: Date.now(), residentMb: Math.round(process.memoryUsage.rss() / 1e6) }),
});

export const tasks = [measureFile, summarize, takeStock] as const;
