// Filling a queue and draining it in this process, and what that cost.
import { within } from "./deadline.ts";
import { resultOf } from "./ledger.ts";
import { startMeter } from "./processor-time.ts";
import type { Measured, Run } from "./scenario.ts";

export interface Drained {
  /** Tasks a second, the first tenth left out as warm-up. */
  readonly rate: number;
  /** Microseconds of the workers' processor time a task. */
  readonly client: number;
  readonly server: number | undefined;
}

/** Adds tasks a thousand at a time, with `length` as texts of so many characters. */
export async function fill({ queue, ledger }: Run, count: number, length?: number): Promise<void> {
  for (let left = count; left > 0; left -= 1_000) {
    const numbers = ledger.take(Math.min(1_000, left));
    await queue.addMany(length === undefined ? numbers : numbers.map((number) => `${number} `.padEnd(length, "x")));
  }
}

/**
 * Works until `count` more tasks have begun, of those that wait. The clock runs from the first tenth to the last handler's start: what is in
 * flight at both ends is alike, so this is the rate at which tasks are settled, too. Processor time counts until all is settled.
 */
export async function drainHere({ queue, ledger, place }: Run, concurrency: number, count: number): Promise<Drained> {
  const warm = Math.max(1, Math.floor(count / 10));
  let begun = 0;
  let warmAt = 0;
  let endedAt = 0;
  let finish!: () => void;
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const spent = startMeter(place.serverPid);
  const worker = await queue.work(concurrency, (payload) => {
    ledger.note(payload);
    begun++;
    if (begun === warm) warmAt = performance.now();
    if (begun === count) {
      endedAt = performance.now();
      finish();
    }
    return resultOf(payload);
  });
  await within(`${count} tasks to be done`, finished, () => `${begun} were`);
  await worker.stop();
  const { client, server } = spent();
  return {
    rate: (count - warm) / ((endedAt - warmAt) / 1_000),
    client: client / begun,
    server: server === undefined ? undefined : server / begun,
  };
}

/** How many tasks last about as long as is wanted. */
export function countFor(rate: number, milliseconds: number, { scale }: Run): number {
  return Math.min(scale.maxTasks, Math.max(200, Math.round((rate * milliseconds) / 1_000)));
}

/** A rate with the processor time below it. */
export function drainMeasures(name: string, { rate, client, server }: Drained): Measured[] {
  return [{ name, value: rate, unit: "/s" }, ...processorMeasures(name, client, server)];
}

export function processorMeasures(name: string, client: number, server: number | undefined): Measured[] {
  const measures: Measured[] = [{ name: `${name}: client`, value: client, unit: "µs", detail: true }];
  if (server !== undefined) measures.push({ name: `${name}: server`, value: server, unit: "µs", detail: true });
  return measures;
}
