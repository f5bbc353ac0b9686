// Enqueues tasks of every kind at random, and notes what was accepted and what must come of it.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, type OmniQ } from "@omniq/core";
import { hostMs } from "./host-time.ts";
import { journal, type Expected } from "./journal.ts";
import { patiently } from "./patience.ts";
import { seeded } from "./random.ts";
import { block, doomed, flaky, hang, phoenix, poison, sum, work } from "./tasks.ts";

export interface ProduceOptions {
  readonly seed: number;
  /** Host time. */
  readonly until: number;
  /** Tasks that kill their process are left out where there is but one. */
  readonly poison: boolean;
}

/** Ends at its time, once every dead letter that it waits for was retried. */
export async function produce(omniq: OmniQ, options: ProduceOptions): Promise<void> {
  const random = seeded(options.seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const retrying = new Set<Promise<void>>();

  async function one(kind: number, n: number): Promise<void> {
    const expect = { output: n * 2 };
    if (kind < 40) {
      const priority = below(3) - 1;
      await accept(expect, () => omniq.enqueue(work, { n, ms: below(20) }, { priority }));
    } else if (kind < 50) await accept(expect, () => omniq.enqueue(flaky, { n, ms: 0 }));
    else if (kind < 65) {
      const group = `g${below(4)}`;
      await accept(expect, () => omniq.enqueue(work, { n, ms: 5, group }, { group: { key: group } }));
    } else if (kind < 75) {
      const [delayMs, since] = [below(2_000), hostMs()];
      const input = { n, ms: 0, since, notBefore: since + delayMs };
      await accept(expect, () => omniq.enqueue(work, input, { delayMs }));
    } else if (kind < 83) {
      const parts = [work.with({ n, ms: 1 }), work.with({ n: n + 1, ms: 2 })];
      const output = n * 2 + (n + 1) * 2;
      await accept({ output }, () => omniq.enqueue(sum, { n, ms: 0 }, { dependsOn: { parts } }));
    } else if (kind < 90) {
      const id = await accept({ ...expect, dies: true }, () => omniq.enqueue(phoenix, { n, ms: 0 }));
      const again = retryWhenDead(omniq, id).finally(() => retrying.delete(again));
      retrying.add(again);
    } else if (kind < 94) {
      // A backlog, so that the order matters.
      const calls = Array.from({ length: 20 }, () => work.with({ n, ms: 10 }, { priority: below(5) }));
      await accept(expect, () => omniq.enqueueMany(calls));
    } else if (kind < 95) await accept(expect, () => omniq.enqueue(hang, { n, ms: 0 }));
    else if (kind < 98) {
      const id = await accept({ cancelled: true }, () => omniq.enqueue(doomed, { n, ms: 0 }));
      await sleep(below(150));
      await cancel(omniq, id);
    } else if (n % 3 === 0 && options.poison)
      await accept({ code: "OMNIQ_LEASE_LOST" }, () => omniq.enqueue(poison, { n, ms: 0 }));
    else if (n % 7 === 0) await accept(expect, () => omniq.enqueue(block, { n, ms: 0 }));
  }

  for (let n = 0; hostMs() < options.until; n++) {
    try {
      await one(below(100), n);
    } catch (error) {
      // Not accepted, so nothing is promised; anything but an outage is a fault of ours.
      if (!isOmniQError(error) || !error.retryable) throw error;
      await sleep(50);
    }
    await sleep(below(10));
  }
  await Promise.all(retrying);
}

/** Makes a call and notes its tasks; answers the id of the first. */
async function accept(expect: Expected, call: () => Promise<{ id: string } | { id: string }[]>): Promise<string> {
  const sent = hostMs();
  const handles = [await call()].flat();
  const at = hostMs();
  for (const { id } of handles) journal({ kind: "accepted", task: id, expect, sent, at });
  return handles[0]?.id ?? "";
}

/** A backlog of all priorities that the workers meet all at once, so that there is an order to judge where nothing fails. */
export async function fillPaused(omniq: OmniQ, seed: number): Promise<void> {
  const random = seeded(seed);
  const queue = omniq.queue("torture");
  await queue.pause();
  for (let n = 0; n < 20; n++) {
    const calls = Array.from({ length: 20 }, () => work.with({ n, ms: 5 }, { priority: Math.floor(random() * 7) - 3 }));
    await accept({ output: n * 2 }, () => omniq.enqueueMany(calls));
  }
  await queue.resume();
}

/** Once it is answered, the task is cancelled or its worker is told, whatever happens to either of them. */
async function cancel(omniq: OmniQ, id: string): Promise<void> {
  const [state] = await patiently(() => omniq.tasks.cancel([id]));
  if (state !== undefined) journal({ kind: "cancelled", task: id, state, at: hostMs() });
}

/** Cancels what its producers died before they could. */
export async function cancelTheDoomed(omniq: OmniQ): Promise<void> {
  const left: string[] = [];
  for await (const { id } of omniq.tasks.list({ queue: "torture", name: doomed.name })) left.push(id);
  for (const id of left) await cancel(omniq, id);
}

/** Waits until a task is a dead letter with a result, and starts it again. */
async function retryWhenDead(omniq: OmniQ, id: string): Promise<void> {
  while ((await patiently(() => omniq.tasks.get(id)))?.state !== "failed") await sleep(200);
  await retry(omniq, id);
}

/** Starts the dead letters again whose producers died before they could. */
export async function retryTheDead(omniq: OmniQ): Promise<void> {
  const dead: string[] = [];
  for await (const { id } of omniq.tasks.list({ queue: "torture", name: phoenix.name, states: ["failed"] }))
    dead.push(id);
  for (const id of dead) await retry(omniq, id);
}

async function retry(omniq: OmniQ, id: string): Promise<void> {
  journal({ kind: "retrying", task: id });
  // One whose outcome is not recorded yet is busy; one that was retried by a call whose answer was lost is unknown.
  while ((await patiently(() => omniq.tasks.retry([id])))[0] === "busy") await sleep(50);
  journal({ kind: "retried", task: id });
}
