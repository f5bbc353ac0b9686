// A worker process: opens the contestant that it is told, works when told, and sends what it did. Started by `crew.ts`.
import { once } from "node:events";
import type { Contestant, Payload, Place } from "./contestant.ts";
import { resultOf } from "./ledger.ts";

export interface WorkerOrder {
  readonly module: string;
  readonly place: Place;
  readonly concurrency: number;
  /** Send each start at once, for latency. */
  readonly announce: boolean;
}
export type WorkerMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "listening" }
  | { readonly kind: "progress"; readonly done: number; readonly microseconds: number }
  | { readonly kind: "started"; readonly payload: Payload; readonly at: number }
  | {
      readonly kind: "over";
      readonly payloads: readonly Payload[];
      readonly times: readonly number[];
      readonly microseconds: number;
    };

/** Wall time with the fraction of a millisecond; comparable between processes of one host. */
const now = (): number => performance.timeOrigin + performance.now();
const tell = (message: WorkerMessage): void => void process.send?.(message);

// Whoever started it is gone.
process.once("disconnect", () => process.exit(1));
const { module, place, concurrency, announce } = JSON.parse(process.argv[2] as string) as WorkerOrder;
const { contestant } = (await import(module)) as { contestant: Contestant };
const queue = await contestant.open(place);
tell({ kind: "ready" });
await once(process, "message");

const payloads: Payload[] = [];
const times: number[] = [];
let told = 0;
const own = process.cpuUsage();
const worker = await queue.work(concurrency, (payload) => {
  const at = now();
  times.push(at);
  payloads.push(payload);
  if (announce) tell({ kind: "started", payload, at });
  return resultOf(payload);
});
tell({ kind: "listening" });
const used = (): number => {
  const { user, system } = process.cpuUsage(own);
  return user + system;
};
const report = setInterval(() => {
  if (payloads.length > told) tell({ kind: "progress", done: (told = payloads.length), microseconds: used() });
}, 10);
await once(process, "message");
clearInterval(report);
await worker.stop();
await new Promise((sent) => process.send?.({ kind: "over", payloads, times, microseconds: used() }, sent));
await queue.close();
// Some contestants have timers with no end of their own.
process.exit();
