// The ids that OmniQ makes: UUIDs of version 7 for tasks and events, and ids derived from what they stand for.
import { createHash, randomFillSync } from "node:crypto";
import { maxKeyBytes } from "./limits.ts";

// Random bytes come from a pool: one system call for 256 ids.
const pool = Buffer.allocUnsafe(10 * 256);
let used = pool.length;

/** A UUID of version 7 (RFC 9562, section 5.7): 48 bits of epoch milliseconds, then 74 random bits. */
export function newId(at: number = Date.now()): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeUIntBE(at, 0, 6);
  pool.copy(bytes, 6, used, used + 10);
  used += 10;
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
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
