// How long calls take: whoever always loses the race for the next commit would show here.
import type { History } from "./history.ts";
import { hostMs } from "./host-time.ts";
import { journal } from "./journal.ts";

/** Shorter calls are not noted. */
const notedMs = 500;
/** A handler that blocks the event loop for so long holds up the calls beside it. */
const blockedMs = 1_000;

/** The longest call of all. */
export interface LongestCall {
  readonly verb: string;
  readonly ms: number;
}

/** Makes a call and notes how long it took, whatever came of it. */
export async function timed<T>(verb: string, call: () => Promise<T>): Promise<T> {
  const at = hostMs();
  try {
    return await call();
  } finally {
    const ms = Math.round(hostMs() - at);
    if (ms >= notedMs) journal({ kind: "call", verb, at, ms });
  }
}

/** The longest call of a process that neither suffered a fault nor blocked itself meanwhile; undefined if all were short. */
export function longestCall(history: History): LongestCall | undefined {
  const blocks = history.of("end").filter(({ at, started }) => at - started >= blockedMs);
  let longest: LongestCall | undefined;
  for (const { pid, verb, at, ms } of history.of("call")) {
    if (ms <= (longest?.ms ?? 0) || history.suffered(pid, at, at + ms)) continue;
    if (!blocks.some((block) => block.pid === pid && block.started <= at + ms && block.at >= at))
      longest = { verb, ms };
  }
  return longest;
}
