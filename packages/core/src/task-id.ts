// The ids that OmniQ makes: UUIDs of version 7 for tasks and events, and ids derived from what they stand for.
import { createHash, randomFillSync } from "node:crypto";
import { maxKeyBytes } from "./limits.ts";

/** Random bytes are drawn, and made into text, for so many ids at once. */
const poolSize = 256;
const pool = Buffer.allocUnsafe(10 * poolSize);
let text = "";
let used = poolSize;
let lastAt = -1;
let lastHigh = -1;
let high = "";
let time = "";

/** A UUID of version 7 (RFC 9562, section 5.7): 48 bits of epoch milliseconds, then 74 random bits. */
export function newId(at: number = Date.now()): string {
  if (used === poolSize) {
    randomFillSync(pool);
    for (let start = 0; start < pool.length; start += 10) {
      pool[start] = 0x70 | ((pool[start] as number) & 0x0f);
      pool[start + 2] = 0x80 | ((pool[start + 2] as number) & 0x3f);
    }
    text = pool.toString("hex").replaceAll(/(.{4})(.{4})(.{12})/g, "$1-$2-$3");
    used = 0;
  }
  if (at !== lastAt) {
    lastAt = at;
    const low = at % 65_536;
    // Most of the digits change once a minute; a process that is idle most of the time would make them anew for each id.
    if (at - low !== lastHigh) {
      lastHigh = at - low;
      high = (lastHigh / 65_536).toString(16).padStart(8, "0");
    }
    time = `${high}-${(65_536 + low).toString(16).slice(1)}-`;
  }
  const start = used++ * 22;
  return time + text.slice(start, start + 22);
}

/** The id of a schedule's occurrence: the same in every process, at most 255 bytes. */
export function occurrenceId(scheduleId: string, at: number): string {
  return fit(`schedule:${scheduleId}@${new Date(at).toISOString()}`, "schedule");
}

/** The id of the event that tells of an outcome: the same whoever records it. */
export function outcomeEventId(taskId: string, run: number, status: string): string {
  return fit(`${taskId}/${run}/${status}`, "outcome");
}

function fit(id: string, kind: string): string {
  return Buffer.byteLength(id) <= maxKeyBytes ? id : `${kind}:sha256:${createHash("sha256").update(id).digest("hex")}`;
}
