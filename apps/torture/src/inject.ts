// Does the planned faults, one after the other, and sees to it that all is right again at the end.
import { setTimeout as sleep } from "node:timers/promises";
import { setClock } from "./clocks.ts";
import type { Crew } from "./crew.ts";
import type { Clock, PlannedFault } from "./faults.ts";
import { everyone, type ClockStep, type FaultSpan } from "./history.ts";
import { hostMs } from "./host-time.ts";
import { ask } from "./parent.ts";

/** How often each was done. */
export type Count = Record<PlannedFault["kind"], number>;

export interface Injection {
  readonly count: Count;
  /** Steps of clocks that a store goes by. */
  readonly storeSteps: readonly ClockStep[];
  /** When servers and connections were away. */
  readonly outages: readonly FaultSpan[];
}

/** Where the host's clock is set, if it can be. */
export interface InjectOptions {
  readonly crew: Crew;
  readonly hostClock: string | undefined;
}

export async function inject(plan: readonly PlannedFault[], { crew, hostClock }: InjectOptions): Promise<Injection> {
  const count: Count = { kill: 0, stop: 0, suspend: 0, restart: 0, cut: 0, clock: 0 };
  const storeSteps: ClockStep[] = [];
  const outages: FaultSpan[] = [];
  const under: Promise<unknown>[] = [];
  /** The clocks that are off, by how much, and which step set them so. */
  const off = new Map<string, { readonly ms: number; readonly by: PlannedFault | undefined }>();

  async function step(clock: Clock, ms: number, by: PlannedFault | undefined): Promise<boolean> {
    const key = `${clock.of} ${clock.index}`;
    const before = off.get(key)?.ms ?? 0;
    off.set(key, { ms, by });
    if (clock.of === "process") return crew.setClock(clock.index, ms);
    storeSteps.push({ at: hostMs(), ms: ms - before });
    if (clock.of === "server") await ask({ kind: "clock", server: clock.index, offMs: ms });
    else if (hostClock !== undefined) setClock(hostClock, ms);
    return true;
  }

  for (const fault of plan) {
    await sleep(fault.afterMs);
    let done = true;
    if (fault.kind === "restart" || fault.kind === "cut") {
      const from = hostMs();
      under.push(ask(fault).then(() => outages.push({ pid: everyone, from, to: hostMs() })));
    } else if (fault.kind === "kill") done = crew.kill(fault.process);
    else if (fault.kind === "stop") done = crew.stop(fault.process);
    else if (fault.kind === "suspend") {
      done = crew.suspend(fault.process, fault.stopMs);
      under.push(sleep(fault.stopMs));
    } else {
      const { clock, stepMs, forMs } = fault;
      done = await step(clock, stepMs, fault);
      const right = sleep(forMs).then(async () => {
        // Another step may have set it meanwhile.
        if (off.get(`${clock.of} ${clock.index}`)?.by === fault) await step(clock, 0, undefined);
      });
      under.push(right);
    }
    // A producer that is done leaves its place empty.
    if (done) count[fault.kind]++;
  }
  await Promise.all(under);
  return { count, storeSteps, outages };
}
