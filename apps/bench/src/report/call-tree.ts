// A CPU profile as a tree of calls with their times.
import type { Profiler } from "node:inspector/promises";

/** Whose code it is. `engine`: V8 and native code; `waiting`: nothing ran. */
export type Owner = "omniq" | "bench" | "library" | "node" | "engine" | "garbage" | "waiting";

export interface Call {
  readonly name: string;
  /** The file from its package on, and the line; empty for native code. */
  readonly place: string;
  readonly owner: Owner;
  /** Microseconds in the function itself. */
  readonly own: number;
  /** Microseconds in it and in what it called. */
  readonly total: number;
  readonly calls: readonly Call[];
}

type Frame = Profiler.ProfileNode["callFrame"];

/** The profiler itself, at work on what it has found. */
const isProfiler = ({ functionName, url }: Frame): boolean => functionName === "dispatch" && url === "";

function placeOf({ url, lineNumber }: Frame): string {
  const file = url.replace(/^.*\/node_modules\//, "").replace(/^.*\/(packages|apps)\//, "$1/");
  return file === "" ? "" : `${file}:${lineNumber + 1}`;
}

function ownerOf({ functionName, url }: Frame): Owner {
  if (functionName === "(idle)") return "waiting";
  if (functionName === "(garbage collector)") return "garbage";
  if (url === "") return "engine";
  if (url.startsWith("node:")) return "node";
  if (url.includes("/node_modules/")) return "library";
  return url.includes("/apps/bench/") ? "bench" : url.includes("/packages/") ? "omniq" : "library";
}

/** The calls below its root, the longest first; the profiler's own are left out. */
export function callTree(profile: Profiler.Profile): Call {
  const times = new Map<number, number>();
  for (const [index, id] of (profile.samples ?? []).entries()) {
    const spent = Math.max(0, profile.timeDeltas?.[index] ?? 0);
    times.set(id, (times.get(id) ?? 0) + spent);
  }
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const callOf = ({ id, callFrame, children = [] }: Profiler.ProfileNode): Call => {
    const below = children.flatMap((child) => nodes.get(child) ?? []).filter((node) => !isProfiler(node.callFrame));
    const calls = below.map(callOf).toSorted((a, b) => b.total - a.total || (a.name < b.name ? -1 : 1));
    const own = times.get(id) ?? 0;
    return {
      name: callFrame.functionName || "(anonymous)",
      place: placeOf(callFrame),
      owner: ownerOf(callFrame),
      own,
      total: calls.reduce((sum, { total }) => sum + total, own),
      calls,
    };
  };
  const [root] = profile.nodes;
  if (root === undefined) throw new Error("the profile has no calls");
  return callOf(root);
}

/** All calls, callers before what they called. */
export function* everyCall(call: Call): Generator<Call> {
  yield call;
  for (const below of call.calls) yield* everyCall(below);
}
