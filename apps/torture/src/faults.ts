// The faults of a run, all chosen from its seed before it begins, so that the same seed gives the same ones.
import { seeded } from "./random.ts";
import { leaseMs } from "./tasks.ts";

/** Whose clock a step of the clock sets: a process's (its place), that of the host with all processes, or a server's. */
export type Clock =
  | { readonly of: "process" | "server"; readonly index: number }
  | { readonly of: "host"; readonly index: 0 };

/** One fault. `process` counts the places of the run's processes, `server` the run's own servers; times are milliseconds. */
export type PlannedFault = { readonly afterMs: number } & (
  | { readonly kind: "kill"; readonly process: number }
  | { readonly kind: "stop"; readonly process: number }
  | { readonly kind: "suspend"; readonly process: number; readonly stopMs: number }
  | { readonly kind: "restart"; readonly server: number; readonly crash: boolean; readonly awayMs: number }
  | { readonly kind: "cut"; readonly server: number; readonly awayMs: number }
  | { readonly kind: "clock"; readonly clock: Clock; readonly stepMs: number; readonly forMs: number }
);

/** What there is to do faults to. */
export interface Targets {
  /** The first of all places are those of workers. */
  readonly workers: number;
  readonly processes: number;
  readonly servers: readonly {
    /** It keeps what it acknowledged when it is ended; others are only cut off. */
    readonly restarts: boolean;
    /** Its clock can be set. */
    readonly clock: boolean;
  }[];
  /** Whose clocks can be set beside those of servers: each process's own, or, where processes take the host's clock for the store's, all at once. */
  readonly clocks: "processes" | "host" | "none";
}

const hourMs = 3_600_000;

/** `every` is the mean time between faults; `afterMs` counts from the fault before. */
export function planFaults(seed: number, totalMs: number, every: number, targets: Targets): readonly PlannedFault[] {
  const random = seeded(seed);
  const plan: PlannedFault[] = [];
  let left = totalMs;
  for (;;) {
    const afterMs = every * (0.46 + random() * 1.08);
    left -= afterMs;
    if (left < 0) return plan;
    const [kind, victim, length, chance] = [random(), random(), random(), random()];
    plan.push({ afterMs, ...choose(kind, victim, length, chance, targets) });
  }
}

type Fault = PlannedFault extends infer One ? (One extends PlannedFault ? Omit<One, "afterMs"> : never) : never;

/** Where there are servers one fault of seven hits one, where there are clocks one of ten sets one; of the rest half are kills. */
function choose(kind: number, victim: number, length: number, chance: number, targets: Targets): Fault {
  const { processes, workers, servers } = targets;
  const process = Math.floor(victim * processes);
  const server = Math.floor(victim * servers.length);
  const found = servers[server];
  if (found !== undefined && kind < 0.05 && found.restarts)
    return { kind: "restart", server, crash: chance < 0.5, awayMs: length * leaseMs };
  if (found !== undefined && kind < 0.14)
    return { kind: "cut", server, awayMs: kind < 0.05 ? length * leaseMs : length * 1_000 };
  const clock = kind < 0.24 ? chooseClock(victim, targets) : undefined;
  if (clock !== undefined) {
    // The store's own clock is never off by an hour: what it then holds back would wait for as long when it is right again.
    const far = clock.of === "process" && chance > 0.7;
    const size = far ? hourMs : (0.05 + length * 1.95) * leaseMs;
    const stepMs = Math.round(chance * 1_000) % 2 === 0 ? size : -size;
    return { kind: "clock", clock, stepMs, forMs: 300 + chance * 2 * leaseMs };
  }
  if (kind < 0.58) return { kind: "kill", process };
  if (kind < 0.68) return { kind: "stop", process: Math.floor(victim * workers) };
  return { kind: "suspend", process, stopMs: 200 + length * 2 * leaseMs };
}

function chooseClock(victim: number, { clocks, processes, servers }: Targets): Clock | undefined {
  const all: Clock[] = servers.flatMap((server, index): Clock[] => (server.clock ? [{ of: "server", index }] : []));
  if (clocks === "host") all.push({ of: "host", index: 0 });
  // A server's clock is one of the many that are set.
  if (clocks === "processes") for (let index = 0; index < processes; index++) all.push({ of: "process", index });
  return all[Math.floor(victim * all.length)];
}
