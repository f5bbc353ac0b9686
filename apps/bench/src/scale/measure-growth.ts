// What each operation of a dimension costs at each size: processor time of client and server, and the longest single step.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { startMeter } from "../frame/processor-time.ts";
import type { Dimension } from "./dimension.ts";
import type { OpenStore } from "./stores.ts";

export interface Line {
  readonly backend: string;
  readonly dimension: string;
  readonly operation: string;
  readonly bound: number;
  /** Microseconds an operation, by size. */
  readonly costs: readonly { readonly size: number; readonly microseconds: number }[];
  /** The longest time for which an event loop, a write lock of a database in the process, or a server of one thread was kept. */
  readonly longestStepMs: number;
  /** Why it could not be measured. */
  readonly error?: string;
}

/** No single step may keep others for longer. */
export const stepLimitMs = 50;
/** The processor's time is counted in hundredths of a second: this much is measured at least. */
const measuredMs = 700;
const fewest = 5;
const most = 3_000;

export function growth({ costs }: Line): number {
  return (costs.at(-1)?.microseconds ?? Number.NaN) / (costs[0]?.microseconds ?? Number.NaN);
}
export function within(line: Line): boolean {
  return line.error === undefined && growth(line) <= line.bound && line.longestStepMs <= stepLimitMs;
}

export async function measureGrowth(
  backend: string,
  store: OpenStore,
  serverPid: number | undefined,
  dimension: Dimension,
  sizes: readonly number[],
  say: (what: string) => void,
): Promise<readonly Line[]> {
  const lines = dimension.operations.map(({ name, bound }) => ({
    backend,
    dimension: dimension.name,
    operation: name,
    bound,
    costs: [] as { size: number; microseconds: number }[],
    longestStepMs: 0,
  }));
  let from = 0;
  for (const size of sizes) {
    say(`${backend} ${dimension.name}: ${size.toLocaleString("en")}`);
    await dimension.grow(store, from, size);
    from = size;
    await store.analyze();
    for (const [index, operation] of dimension.operations.entries()) {
      const line = lines[index] as (typeof lines)[number];
      // Compiled, and with warm caches, at every size.
      const warm = performance.now();
      while (performance.now() - warm < measuredMs / 3) await operation.run(store);
      await store.longestStepMs();
      // What growing left behind (garbage, pages on their way to the disk) is not the operation's.
      await sleep(100);
      const delay = monitorEventLoopDelay({ resolution: 1 });
      delay.enable();
      const stop = startMeter(serverPid);
      const start = performance.now();
      let [calls, operations] = [0, 0];
      while (calls < fewest || (calls < most && performance.now() - start < measuredMs)) {
        operations += await operation.run(store);
        calls += 1;
      }
      const { client, server = 0 } = stop();
      delay.disable();
      line.costs.push({ size, microseconds: (client + server) / Math.max(1, operations) });
      line.longestStepMs = Math.max(line.longestStepMs, delay.max / 1e6, (await store.longestStepMs()) ?? 0);
    }
  }
  return lines;
}
