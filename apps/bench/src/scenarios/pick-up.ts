// How soon an idle worker starts a task, from the call that adds it: in another process where the contestant can, else in the same.
import { setTimeout as sleep } from "node:timers/promises";
import { WorkerProcess } from "../frame/crew.ts";
import { within } from "../frame/deadline.ts";
import { resultOf } from "../frame/ledger.ts";
import type { Measured, Run, Scenario } from "../frame/scenario.ts";
import { median } from "../measure.ts";

const now = (): number => performance.timeOrigin + performance.now();
/** Enough for a median, also for those that poll. */
const limitMs = 5_000;
const warmLimitMs = 10_000;

interface IdleWorker {
  /** Resolves with the time at which the next task starts. */
  next(): Promise<number>;
  stop(): Promise<void>;
}

async function inAnotherProcess({ module, place, ledger }: Run): Promise<IdleWorker> {
  const child = new WorkerProcess({ module, place, concurrency: 10, announce: true });
  await child.next("ready");
  const listening = child.next("listening");
  child.tell();
  await listening;
  return {
    next: async () => (await child.next("started")).at,
    async stop() {
      const over = child.next("over");
      child.tell();
      for (const payload of (await over).payloads) ledger.note(payload);
      child.end();
    },
  };
}

async function inThisProcess({ queue, ledger }: Run): Promise<IdleWorker> {
  let started: (at: number) => void = () => {};
  const worker = await queue.work(10, (payload) => {
    started(now());
    ledger.note(payload);
    return resultOf(payload);
  });
  return {
    next: () => within("a task to start", new Promise<number>((resolve) => (started = resolve))),
    stop: async () => void (await worker.stop()),
  };
}

export const pickUp: Scenario = {
  name: "pick-up",
  about: "how soon an idle worker starts a task, from the call that adds it",
  async run(run): Promise<readonly Measured[]> {
    const { contestant, queue, ledger, scale } = run;
    const worker = await (contestant.shared ? inAnotherProcess(run) : inThisProcess(run));
    const one = async (): Promise<number> => {
      const next = worker.next();
      const added = now();
      await queue.add(ledger.take(1)[0] as number);
      return (await next) - added;
    };
    const warmUntil = performance.now() + warmLimitMs;
    for (let warmed = 0; warmed < scale.warmPickUps && performance.now() < warmUntil; warmed++) await one();
    const waits: number[] = [];
    const until = performance.now() + limitMs;
    while (waits.length < scale.pickUps && (performance.now() < until || waits.length < 2)) {
      await sleep(10 + (waits.length % 7));
      waits.push(await one());
    }
    await worker.stop();
    const sorted = waits.toSorted((a, b) => a - b);
    const late = sorted[Math.floor(sorted.length * 0.95)] ?? Number.NaN;
    return [
      { name: "pick-up, median", value: median(waits), unit: "ms" },
      { name: "pick-up: 95th percentile", value: late, unit: "ms", detail: true },
    ];
  },
};
