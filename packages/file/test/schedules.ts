// The kinds of schedules, and many of them in a row: what `protocol.test.ts` runs some of, and `scripts/schedules.mjs` thousands.
import { noScenarios, type Scenarios } from "./protocol-oracle.ts";
import { runSchedule, type RunOptions } from "./protocol-run.ts";

type Kind = Omit<RunOptions, "seed">;
const base: Kind = { steps: 1_500, processes: 3, graceMs: 40_000, laneLimit: 4 };

export const kinds = {
  /** What is young is trusted by dates. */
  dates: base,
  /** A short grace: every answer is followed by a list. */
  lists: { ...base, graceMs: 400 },
  /** Two processes and one lane: evictions all the time. */
  evictions: { ...base, processes: 2, laneLimit: 1, steps: 1_000 },
  /** More processes than lanes. */
  crowd: { ...base, processes: 5, laneLimit: 3 },
  /** Nobody sleeps or dies, and deletion must keep up. */
  steady: { ...base, steady: true },
  /** The same, with lists. */
  steadyLists: { ...base, steady: true, graceMs: 400 },
} as const satisfies Record<string, Kind>;
export type KindName = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as readonly KindName[];

/** Runs schedules of one kind with seeds from `first` on, and adds up what came up. Rejects with the first violation. */
export async function runMany(kind: Kind, first: number, count: number): Promise<Scenarios> {
  const total = noScenarios();
  for (let seed = first; seed < first + count; seed++) addUp(total, await runSchedule({ ...kind, seed }));
  return total;
}
export function addUp(total: Scenarios, more: Scenarios): void {
  for (const name of Object.keys(total) as (keyof Scenarios)[]) total[name] += more[name];
}
