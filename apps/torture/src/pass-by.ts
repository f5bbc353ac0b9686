// Workers that are stopped until the store's log has gone on without them: commits that they would read next are deleted under them.
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { hostMs } from "./host-time.ts";
import { ask } from "./parent.ts";
import type { ProcessCrew } from "./processes.ts";

/** How long one that was passed by may take to do something again. */
const patienceMs = 60_000;

/** A process that has done nothing yet has no journal. */
const sizeOf = (journal: string): number => statSync(journal, { throwIfNoEntry: false })?.size ?? 0;

/**
 * One worker after the other: asks the parent process, which knows the store, to stop it and to let it go on when it has been passed by; then waits
 * until it works again, as its journal shows. Answers with how many there were; one that was not passed by, or does nothing since, is a finding.
 */
export async function passByWorkers(
  crew: ProcessCrew,
  workers: number,
  times: number,
  pauseMs: number,
): Promise<number> {
  let done = 0;
  let left = times;
  // Whoever ends or is suspended has his turn later.
  for (let turn = 0; left > 0 && turn < 20 * times; turn++) {
    // Whoever is there has had time to do something.
    await sleep(pauseMs);
    const sleeper = crew.putToSleep(turn % workers);
    if (sleeper === undefined) continue;
    left--;
    const { pid, journal } = sleeper;
    try {
      const { passed } = await ask({ kind: "pass-by", pid });
      sleeper.wake();
      if (passed !== true) throw new Error(`process ${pid} was stopped, and the log did not pass it by`);
      const size = sizeOf(journal);
      const deadline = hostMs() + patienceMs;
      while (sizeOf(journal) === size) {
        if (!sleeper.lives()) throw new Error(`process ${pid} was passed by and ended`);
        if (hostMs() > deadline) throw new Error(`process ${pid} was passed by and does nothing since`);
        await sleep(100);
      }
      done++;
    } catch (error) {
      crew.unexpected.push(String(error));
    }
    sleeper.release();
  }
  return done;
}
