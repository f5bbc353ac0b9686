// Workers that are stopped until the store's log has gone on without them: commits that they would read next are deleted under them.
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { hostMs } from "./host-time.ts";
import { ask } from "./parent.ts";
import type { ProcessCrew, Sleeper } from "./processes.ts";

/** How long one that was passed by may take to do something again. */
const patienceMs = 60_000;

/** A process that has done nothing yet has no journal. */
const sizeOf = (journal: string): number => statSync(journal, { throwIfNoEntry: false })?.size ?? 0;

/** Asks the parent process, which knows the store, to stop it until it is passed by; then waits until it works again, as its journal shows. */
async function passBy({ pid, journal, wake, lives }: Sleeper): Promise<void> {
  const { passed } = await ask({ kind: "pass-by", pid });
  wake();
  if (passed !== true) throw new Error(`process ${pid} was stopped, and the log did not pass it by`);
  const size = sizeOf(journal);
  const deadline = hostMs() + patienceMs;
  while (sizeOf(journal) === size) {
    if (!lives()) throw new Error(`process ${pid} was passed by and ended`);
    if (hostMs() > deadline) throw new Error(`process ${pid} was passed by and does nothing since`);
    await sleep(100);
  }
}

/**
 * So many times; half of the workers sleep at a time at most, since it takes as long as several checkpoints, which come more seldom the more the state
 * grows. Answers with how many there were; one that was not passed by, or does nothing since, is a finding.
 */
export async function passByWorkers(
  crew: ProcessCrew,
  workers: number,
  times: number,
  pauseMs: number,
): Promise<number> {
  let done = 0;
  let left = times;
  let turn = 0;
  const lane = async (_: unknown, index: number): Promise<void> => {
    await sleep(index * pauseMs);
    // Whoever ends or is suspended has his turn later.
    for (; left > 0 && turn < 20 * times; turn++) {
      // Whoever is there has had time to do something.
      await sleep(pauseMs);
      const sleeper = left > 0 ? crew.putToSleep(turn % workers) : undefined;
      if (sleeper === undefined) continue;
      left--;
      try {
        await passBy(sleeper);
        done++;
      } catch (error) {
        crew.unexpected.push(String(error));
      }
      sleeper.release();
    }
  };
  await Promise.all(Array.from({ length: Math.min(times, Math.ceil(workers / 2)) }, lane));
  return done;
}
