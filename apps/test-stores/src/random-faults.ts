// Faults drawn at random from a seed: what a busy service on a bad day does.
import type { Fault, Operation } from "./store-server.ts";

export interface RandomFaults {
  readonly fault: (operation: Operation) => Fault | undefined;
  /** How many of each were injected so far. */
  readonly injected: Readonly<Record<string, number>>;
}

/** A fault for this share of the requests. Writes are made doubtful in every way; the rest is refused, slow, or cut. */
export function randomFaults(seed: number, share: number): RandomFaults {
  const injected: Record<string, number> = {};
  let state = seed >>> 0;
  // Mulberry32, a well-known small generator: the same faults for the same seed and order of requests.
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const reads: readonly Fault[] = [
    { type: "refuse", status: 503 },
    { type: "refuse", status: 429 },
    { type: "delay", ms: 200 },
    { type: "drop-before" },
    { type: "cut-body" },
  ];
  const writes: readonly Fault[] = [
    { type: "refuse", status: 503 },
    { type: "refuse", status: 500 },
    { type: "delay", ms: 300 },
    { type: "drop-before" },
    { type: "drop-after" },
    { type: "drop-after" },
    { type: "late", ms: 150 },
    { type: "late", ms: 1_500 },
  ];
  return {
    injected,
    fault: ({ kind }) => {
      if (random() >= share) return undefined;
      const kinds = kind === "create" || kind === "replace" ? writes : reads;
      const fault = kinds[Math.floor(random() * kinds.length)] as Fault;
      const name = `${kind} ${fault.type}${fault.type === "refuse" ? ` ${fault.status}` : ""}`;
      injected[name] = (injected[name] ?? 0) + 1;
      return fault;
    },
  };
}
