// The tasks of a torture run. Each execution leaves a line in its process's journal, for the auditor.
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, typeOnly, type TaskContext } from "@omniq/core";
import { journal } from "./journal.ts";

/** Stores far away need longer leases than others. */
export const leaseMs: number = Number(process.env["TORTURE_LEASE_MS"] ?? 3_000);
const retry = { maxAttempts: 10, backoff: "fixed", delayMs: 50, jitter: 0 } as const;

interface Work {
  readonly n: number;
  readonly ms: number;
  /** Not to be started before this time. */
  readonly notBefore?: number;
  readonly group?: string;
}

/** Notes when a handler starts and ends, whatever comes of it. */
async function noted<T>(input: Work, context: Pick<TaskContext, "id" | "attempt">, body: () => Promise<T>): Promise<T> {
  const started = Date.now();
  journal({ kind: "start", task: context.id, at: started, notBefore: input.notBefore, group: input.group });
  const output = await body();
  journal({ kind: "end", task: context.id, at: Date.now(), started, group: input.group });
  return output;
}

/** Doubles a number after a while. */
export const work = defineTask({
  name: "work",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      await sleep(input.ms, undefined, { signal: context.signal });
      return input.n * 2;
    }),
});

/** Fails at its first attempt. */
export const flaky = defineTask({
  name: "flaky",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      if (context.attempt === 1) throw new Error("the first attempt always fails");
      return input.n * 2;
    }),
});

/** Blocks the event loop for three lease lengths, at most 9 s. */
export const block = defineTask({
  name: "block",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      const until = performance.now() + Math.min(3 * leaseMs, 9_000);
      while (performance.now() < until);
      return input.n * 2;
    }),
});

/** Kills the process that runs it; in the end a dead letter. */
export const poison = defineTask({
  name: "poison",
  queue: "poison",
  retry,
  input: typeOnly<Work>(),
  run: (): number => {
    process.kill(process.pid, "SIGKILL");
    return 0;
  },
});

/** Adds what two other tasks gave. */
export const sum = defineTask({
  name: "sum",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  dependsOn: { parts: [work] },
  run: (input, context) =>
    noted(input, context, async () => context.dependencies.parts.reduce((total, part) => total + part, 0)),
});

/** What the schedules enqueue. */
export const tick = defineTask({ name: "tick", queue: "torture", retry, run: () => "ticked" });

export const tasks = [work, flaky, block, poison, sum, tick] as const;
