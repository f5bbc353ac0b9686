// The ids that OmniQ makes: UUIDs of version 7 for tasks and events, and ids derived from what they stand for.
import { createHash, randomFillSync } from "node:crypto";
import { maxKeyBytes } from "./limits.ts";

/** Random bytes are drawn, and made into text, for so many ids at once. */
const poolSize = 256;
const pool = Buffer.allocUnsafe(8 * poolSize);
let text = "";
let used = poolSize;
let lastAt = 0;
let counter = 0;
let lastHigh = -1;
let high = "";
let time = "";

/**
 * A UUID of version 7 (RFC 9562, section 5.7): 48 bits of epoch milliseconds, 12 bits that count the ids of a millisecond (section 6.2, method 1),
 * 62 random bits. Those of one process grow, also where its clock is set back or more than 4,096 are made in a millisecond (then the time runs
 * ahead): what comes last goes to the end of a store's index, which is cheaper than a place in its midst (a bulk costs PostgreSQL a fifth less for it).
 */
export function newId(): string {
  if (used === poolSize) {
    randomFillSync(pool);
    for (let start = 0; start < pool.length; start += 8) pool[start] = 0x80 | ((pool[start] as number) & 0x3f);
    text = pool.toString("hex").replaceAll(/(.{4})(.{12})/g, "$1-$2");
    used = 0;
  }
  const now = Date.now();
  if (now > lastAt) startMillisecond(now);
  else if (++counter === 4_096) startMillisecond(lastAt + 1);
  const start = used++ * 17;
  return `${time}${(4_096 + counter).toString(16).slice(1)}-${text.slice(start, start + 17)}`;
}

function startMillisecond(at: number): void {
  lastAt = at;
  counter = 0;
  const low = at % 65_536;
  // Most of the digits change once a minute; a process that is idle most of the time would make them anew for each id.
  if (at - low !== lastHigh) {
    lastHigh = at - low;
    high = (lastHigh / 65_536).toString(16).padStart(8, "0");
  }
  time = `${high}-${(65_536 + low).toString(16).slice(1)}-7`;
}

/**
 * The id of a schedule's occurrence: the same in every process, at most 255 bytes. `made`, when a schedule of one time was put, tells its task
 * from that of the same schedule put before.
 */
export function occurrenceId(scheduleId: string, at: number, made?: number): string {
  const again = made === undefined ? "" : `#${made.toString(36)}`;
  return fit(`schedule:${scheduleId}@${new Date(at).toISOString()}${again}`, "schedule");
}

/** The id of the event that tells of an outcome: the same whoever records it. */
export function outcomeEventId(taskId: string, run: number, status: string): string {
  return fit(`${taskId}/${run}/${status}`, "outcome");
}

function fit(id: string, kind: string): string {
  return Buffer.byteLength(id) <= maxKeyBytes ? id : `${kind}:sha256:${createHash("sha256").update(id).digest("hex")}`;
}
