// Processor time of this process and of a server with its children. Unlike the clock's, it does not depend on who else runs.
import { readFileSync } from "node:fs";

/** `/proc` counts in hundredths of a second on every Linux that Node runs on. */
const tickMicroseconds = 10_000;

/** Microseconds that a process, its children and what those left behind have used; `undefined` where there is no `/proc`. */
function usedBy(pid: number): number | undefined {
  try {
    // The name in parentheses may have spaces; the fields after it are fixed.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    const [user, system, reapedUser, reapedSystem] = fields.slice(11, 15).map(Number);
    let ticks = (user ?? 0) + (system ?? 0) + (reapedUser ?? 0) + (reapedSystem ?? 0);
    for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean))
      ticks += (usedBy(Number(child)) ?? 0) / tickMicroseconds;
    return ticks * tickMicroseconds;
  } catch {
    return undefined;
  }
}

export interface Spent {
  /** Microseconds of this process. */
  readonly client: number;
  /** Microseconds of the server, where it can be known. */
  readonly server: number | undefined;
}

/** Starts to count; the answer says what was spent since. */
export function startMeter(serverPid: number | undefined): () => Spent {
  const own = process.cpuUsage();
  const before = serverPid === undefined ? undefined : usedBy(serverPid);
  return () => {
    const { user, system } = process.cpuUsage(own);
    const after = serverPid === undefined ? undefined : usedBy(serverPid);
    return {
      client: user + system,
      server: before === undefined || after === undefined ? undefined : after - before,
    };
  };
}
