// Processes that are stopped until the store's log has gone on without them: commits that they would read next are deleted under them.
import type { ChildProcess } from "node:child_process";
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault } from "./audit.ts";

/** A process and the file of its journal. */
export interface Sleeper {
  readonly child: ChildProcess;
  readonly journal: string;
}
type Answer = { readonly kind: "passed"; readonly pid: number; readonly from: number; readonly to: number };

/** How long one that was passed by may take to do something again. */
const patienceMs = 60_000;

/** A process that has done nothing yet has no journal. */
const sizeOf = (journal: string): number => statSync(journal, { throwIfNoEntry: false })?.size ?? 0;

/** The process is to be left alone by other faults. */
export const asleep: Set<number> = new Set();

/**
 * Asks the parent process, which knows the store, to stop this one and to let it go on when it has been passed by. Then waits until it works
 * again, as its journal shows. Answers with the time in which it was stopped; rejects where it was not passed by or does not work again.
 */
export async function passBy({ child, journal }: Sleeper): Promise<Fault> {
  const { pid } = child;
  if (pid === undefined || process.send === undefined) throw new Error("nobody is there to stop the process");
  asleep.add(pid);
  try {
    const answer = new Promise<Answer>((resolve) => {
      const hear = (message: Answer): void => {
        if (message.kind !== "passed" || message.pid !== pid) return;
        process.off("message", hear);
        resolve(message);
      };
      process.on("message", hear);
    });
    process.send({ kind: "pass-by", pid });
    const { from, to } = await answer;
    if (to === 0) throw new Error(`process ${pid} was stopped, and the log did not pass it by`);
    const size = sizeOf(journal);
    const deadline = Date.now() + patienceMs;
    while (sizeOf(journal) === size) {
      if (child.exitCode !== null) throw new Error(`process ${pid} was passed by and ended with ${child.exitCode}`);
      if (Date.now() > deadline) throw new Error(`process ${pid} was passed by and does nothing since`);
      await sleep(100);
    }
    return { pid, from, to: to + 1_000 };
  } finally {
    asleep.delete(pid);
  }
}
