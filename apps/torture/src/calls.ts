// How long calls take: whoever always loses the race for the next commit would show here.
import type { Fault } from "./audit.ts";
import { journal, type Line } from "./journal.ts";

/** Shorter calls are not noted. */
const notedMs = 500;
/** A handler that blocks the event loop for so long holds up the calls beside it. */
const blockedMs = 1_000;

/** Makes a call and notes how long it took, whatever came of it. */
export async function timed<T>(verb: string, call: () => Promise<T>): Promise<T> {
  const [at, started] = [Date.now(), performance.now()];
  try {
    return await call();
  } finally {
    const ms = Math.round(performance.now() - started);
    if (ms >= notedMs) journal({ kind: "call", verb, at, ms });
  }
}

/** The longest call of a process that neither was stopped nor blocked itself meanwhile; undefined if all were short. */
export function longestCall(
  lines: readonly (Line & { readonly pid: number })[],
  faults: readonly Fault[],
): { readonly verb: string; readonly ms: number } | undefined {
  const idle: readonly Fault[] = [
    ...faults,
    ...lines.flatMap((line) =>
      line.kind === "end" && line.at - line.started >= blockedMs
        ? [{ pid: line.pid, from: line.started, to: line.at }]
        : [],
    ),
  ];
  let longest: { verb: string; ms: number } | undefined;
  for (const line of lines) {
    if (line.kind !== "call" || line.ms <= (longest?.ms ?? 0)) continue;
    const end = line.at + line.ms;
    if (!idle.some(({ pid, from, to }) => pid === line.pid && from <= end && to >= line.at))
      longest = { verb: line.verb, ms: line.ms };
  }
  return longest;
}
