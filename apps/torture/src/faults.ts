// The faults of a run, all chosen from its seed before it begins, so that the same seed gives the same ones.
import { seeded } from "./random.ts";
import { leaseMs } from "./tasks.ts";

/** One fault. `process` counts the places of the run's processes, `server` the run's own servers; times are milliseconds. */
export type PlannedFault = { readonly afterMs: number } & (
  | { readonly kind: "kill"; readonly process: number }
  | { readonly kind: "suspend"; readonly process: number; readonly stopMs: number }
  | { readonly kind: "restart"; readonly server: number; readonly crash: boolean; readonly awayMs: number }
  | { readonly kind: "cut"; readonly server: number; readonly awayMs: number }
);

/** Of twelve faults about seven are kills and four are suspensions; where there are servers, one of six hits a server. `afterMs` counts from the fault before. */
export function planFaults(
  seed: number,
  totalMs: number,
  every: number,
  processes: number,
  servers: number,
): readonly PlannedFault[] {
  const random = seeded(seed);
  const plan: PlannedFault[] = [];
  let left = totalMs;
  for (;;) {
    const afterMs = every * (0.46 + random() * 1.08);
    left -= afterMs;
    if (left < 0) return plan;
    const [kind, victim, length] = [random(), random(), random()];
    const process = Math.floor(victim * processes);
    const server = Math.floor(victim * servers);
    if (servers > 0 && kind < 0.06)
      plan.push({ afterMs, kind: "restart", server, crash: length < 0.5, awayMs: length * leaseMs });
    else if (servers > 0 && kind < 0.17) plan.push({ afterMs, kind: "cut", server, awayMs: length * 1_000 });
    else if (kind < 0.65) plan.push({ afterMs, kind: "kill", process });
    else plan.push({ afterMs, kind: "suspend", process, stopMs: 200 + length * 2 * leaseMs });
  }
}
