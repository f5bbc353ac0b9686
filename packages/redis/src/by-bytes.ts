// Batches cut by what they weigh: one argument of a command, and one answer, must stay far below what Redis and a string can take.
import { OmniQError } from "@omniq/core";

/** About how many characters go in one script. */
const batchCharacters = 64 * 1024 * 1024;
/** The most that one item may have: Redis takes no argument of 512 MiB and more, and a character has up to 3 bytes. */
const itemCharacters = 160 * 1024 * 1024;

/** The items in runs of about 64 Mi characters. Throws `OMNIQ_INVALID_OPTION` for one that no script can take. */
export function byBytes<T>(items: readonly T[], weigh: (item: T) => number, what: string): readonly (readonly T[])[] {
  let total = 0;
  for (const item of items) total += weigh(item);
  if (total <= batchCharacters) return [items];
  const runs: T[][] = [];
  let run: T[] = [];
  let sum = 0;
  for (const item of items) {
    const weight = weigh(item);
    if (weight > itemCharacters) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `${what} has ${weight} characters; Redis takes ${itemCharacters} at once. Split it`,
      );
    }
    if (sum + weight > batchCharacters && run.length > 0) {
      runs.push(run);
      run = [];
      sum = 0;
    }
    run.push(item);
    sum += weight;
  }
  runs.push(run);
  return runs;
}
