// What rides in a commit: the calls that wait, heartbeats first, up to about the size of one.
import type { WriteCommand } from "./command.ts";
import type { OperationAnswer } from "./machine.ts";

/** A call that waits for its commit. */
export interface Pending {
  readonly commands: readonly WriteCommand[];
  readonly resolve: (answers: readonly OperationAnswer[]) => void;
  readonly reject: (reason: unknown) => void;
}

/** How many UTF-8 bytes of commands ride in one commit, at most about, where nothing else is said. */
const defaultBytes = 524_288;

export const isHeartbeat = ({ verb }: WriteCommand): boolean => verb === "extend";

/** Takes the calls of the next commit out of those that wait. Heartbeats first: none may lose its lease behind much else. */
export function takeRiders(waiting: Pending[], commitBytes: number = defaultBytes): readonly Pending[] {
  const rank = ({ commands }: Pending): number => (commands.some(isHeartbeat) ? 0 : 1);
  waiting.sort((a, b) => rank(a) - rank(b));
  let bytes = 0;
  let count = 0;
  for (const { commands } of waiting) {
    bytes += Buffer.byteLength(JSON.stringify(commands));
    if (count > 0 && bytes > commitBytes) break;
    count++;
  }
  return waiting.splice(0, count);
}
