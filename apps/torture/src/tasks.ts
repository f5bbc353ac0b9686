// The tasks of a torture run. Each execution leaves a line in its process's journal, for the auditor.
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, failTask, typeOnly, type TaskContext } from "@omniq/core";
import { hostMs } from "./host-time.ts";
import { journal } from "./journal.ts";
import { runOf } from "./watch-leases.ts";

/** Stores far away need longer leases than others. */
export const leaseMs: number = Number(process.env["TORTURE_LEASE_MS"] ?? 3_000);
const retry = { maxAttempts: 10, backoff: "fixed", delayMs: 50, jitter: 0 } as const;

interface Work {
  readonly n: number;
  readonly ms: number;
  /** When it was sent, and the time before which it is not to be started; host time. */
  readonly since?: number;
  readonly notBefore?: number;
  readonly group?: string;
}

/** Notes when a handler starts and ends, whatever comes of it. */
async function noted<T>(input: Work, context: Pick<TaskContext, "id" | "attempt">, body: () => Promise<T>): Promise<T> {
  const { since, notBefore, group } = input;
  const started = hostMs();
  journal({ kind: "start", task: context.id, at: started, since, notBefore, group });
  const output = await body();
  journal({ kind: "end", task: context.id, at: hostMs(), started, group });
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

/** Becomes a dead letter in its first run, and completes once it is retried. */
export const phoenix = defineTask({
  name: "phoenix",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      if (runOf(context.id) === 1) throw failTask("the first run always fails");
      return input.n * 2;
    }),
});

/** Hangs at its first attempt until its time is up. */
export const hang = defineTask({
  name: "hang",
  queue: "torture",
  retry,
  timeoutMs: 1_000,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      if (context.attempt === 1) await sleep(3_600_000, undefined, { signal: context.signal });
      return input.n * 2;
    }),
});

/** Takes a minute, unless it is cancelled, which its producer does at once. */
export const doomed = defineTask({
  name: "doomed",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      await sleep(60_000, undefined, { signal: context.signal });
      return input.n * 2;
    }),
});

/** Blocks the event loop for three lease lengths. */
export const block = defineTask({
  name: "block",
  queue: "torture",
  retry,
  input: typeOnly<Work>(),
  run: (input, context) =>
    noted(input, context, async () => {
      const until = performance.now() + 3 * leaseMs;
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

export const tasks = [work, flaky, phoenix, hang, doomed, block, poison, sum, tick] as const;
