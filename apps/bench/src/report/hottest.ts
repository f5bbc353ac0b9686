// The functions in which a profile spent the most time of their own.
import { everyCall, type Call } from "./call-tree.ts";

export interface Hot {
  readonly name: string;
  /** Part of the profile in the function itself, 0 to 1. */
  readonly share: number;
}

export function hottest(tree: Call, count: number): readonly Hot[] {
  const times = new Map<string, number>();
  for (const { name, place, own } of everyCall(tree)) {
    const label = `${name} ${place}`.trimEnd();
    times.set(label, (times.get(label) ?? 0) + own);
  }
  return [...times]
    .map(([name, time]) => ({ name, share: time / tree.total }))
    .toSorted((a, b) => b.share - a.share)
    .slice(0, count);
}
