// Reserving: the best tasks of each queue that its limits let start, each with a lease of its own.
import { randomBytes } from "node:crypto";
import type { Lease, ReserveRequest } from "@omniq/core";
import { refill, takeSlot } from "./groups.ts";
import { decide } from "./outcomes.ts";
import { active, edgesOf, expired, toOutcomes, toStoredTask, type TaskRow } from "./task-row.ts";
import type { Sql, Transacting } from "./sql.ts";
import { upkeep } from "./upkeep.ts";

/** How many tasks one reserve promotes, expires or takes back in one queue at most. */
const upkeepBound = 1_000;

interface QueueRow {
  readonly paused: number;
  readonly max_active: number | null;
  readonly rate_limit: number | null;
  readonly rate_window: number | null;
  readonly rate_arrival: number | null;
}

const queueText = "SELECT paused, max_active, rate_limit, rate_window, rate_arrival FROM {p}_queues WHERE name = ?";

export function reserveTasks(tx: Transacting, request: ReserveRequest): Lease[] {
  const leases: Lease[] = [];
  const batch = { token: randomBytes(12).toString("base64url"), leases, request };
  for (const queue of new Set(request.queues)) {
    if (leases.length >= request.limit) break;
    const row = tx.sql.get<QueueRow>(queueText, queue);
    if (row === undefined) continue;
    upkeep(tx, queue, upkeepBound);
    if (row.paused === 1) continue;
    const before = leases.length;
    take(tx, queue, Math.min(request.limit - before, roomOf(tx, queue, row)), batch);
    const started = leases.length - before;
    if (started > 0 && row.rate_limit !== null && row.rate_window !== null) {
      const arrival = Math.max(row.rate_arrival ?? 0, tx.now) + (started * row.rate_window) / row.rate_limit;
      tx.sql.run("UPDATE {p}_queues SET rate_arrival = ? WHERE name = ?", arrival, queue);
    }
  }
  return leases;
}

/** How many the queue's own limits let start now. */
function roomOf(tx: Transacting, queue: string, row: QueueRow): number {
  let room = Infinity;
  if (row.max_active !== null) {
    const counted = tx.sql.get<{ n: number }>(
      "SELECT count(*) AS n FROM {p}_tasks WHERE state = 4 AND queue = ?",
      queue,
    );
    room = row.max_active - (counted?.n ?? 0);
  }
  if (row.rate_limit !== null && row.rate_window !== null) {
    const arrival = Math.max(row.rate_arrival ?? 0, tx.now);
    // The small addition is for limits whose step is not a binary fraction: a full bucket holds exactly `limit`.
    room = Math.min(room, Math.floor((tx.now + row.rate_window - arrival) / (row.rate_window / row.rate_limit) + 1e-6));
  }
  return room;
}

function take(
  tx: Transacting,
  queue: string,
  room: number,
  batch: { readonly token: string; readonly leases: Lease[]; readonly request: ReserveRequest },
): void {
  const { leases, request } = batch;
  const end = leases.length + room;
  const deadline = tx.now + Math.ceil(request.leaseMs);
  while (leases.length < end) {
    const rows = tx.sql.all<TaskRow>(
      "SELECT * FROM {p}_tasks WHERE state = 2 AND queue = ? ORDER BY priority DESC, ready_at, seq LIMIT ?",
      queue,
      end - leases.length,
    );
    if (rows.length === 0) return;
    for (const row of rows) {
      if (row.expires_at !== null && row.started_at === null && row.expires_at <= tx.now) {
        decide(tx, row, expired);
        // Its group may have put another into the index, at a place before the next row.
        if (row.group_key !== null) break;
        continue;
      }
      const token = `${batch.token}.${leases.length}`;
      const slot = row.group_key === null ? 0 : 1;
      tx.sql.run(
        `UPDATE {p}_tasks SET state = 4, attempt = attempt + 1, token = ?, deadline = ?, worker = ?, started_at = ?, slot = ? WHERE seq = ?`,
        token,
        deadline,
        request.worker,
        row.started_at ?? tx.now,
        slot,
        row.seq,
      );
      const edges = row.edges > 0 ? edgesOf(tx.sql, row.seq) : undefined;
      const task = toStoredTask(
        { ...row, state: active, attempt: row.attempt + 1, started_at: row.started_at ?? tx.now },
        tx.now,
        edges,
      );
      leases.push({
        taskId: row.id,
        queue,
        token,
        run: row.run,
        attempt: task.attempt,
        task,
        deadline,
        sentAt: tx.sentAt,
        cancelling: row.cancelling === 1,
        dependencies: edges === undefined ? [] : toOutcomes(edges),
      });
      if (row.group_key !== null && row.slot === 0) {
        takeSlot(tx, queue, row.group_key);
        if (refill(tx, queue, row.group_key)) break;
      }
    }
  }
}

/** What can be seen without the write lock. */
export interface Outlook {
  /** A reserve may find something. */
  readonly worth: boolean;
  /** When the next task is due or expires, a lease runs out, or the rate allows one. */
  readonly nextAt: number | undefined;
}

export function lookAhead(sql: Sql, queues: readonly string[], now: number): Outlook {
  let worth = false;
  let nextAt = Infinity;
  for (const queue of new Set(queues)) {
    const row = sql.get<QueueRow>(queueText, queue);
    if (row === undefined) continue;
    const due =
      sql.get<{ at: number | null }>("SELECT min(run_at) AS at FROM {p}_tasks WHERE state = 1 AND queue = ?", queue)
        ?.at ?? Infinity;
    const dead =
      sql.get<{ at: number | null }>("SELECT min(deadline) AS at FROM {p}_tasks WHERE state = 4 AND queue = ?", queue)
        ?.at ?? Infinity;
    const late =
      sql.get<{ at: number | null }>(
        "SELECT min(expires_at) AS at FROM {p}_tasks WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4 AND queue = ?",
        queue,
      )?.at ?? Infinity;
    const waits =
      sql.get("SELECT 1 AS there FROM {p}_tasks WHERE state = 2 AND queue = ? LIMIT 1", queue) !== undefined;
    let rateAt = 0;
    if (row.rate_limit !== null && row.rate_window !== null && row.rate_arrival !== null) {
      rateAt = Math.ceil(row.rate_arrival + row.rate_window / row.rate_limit - row.rate_window);
    }
    if (due <= now || dead <= now || late <= now || (waits && row.paused === 0 && rateAt <= now)) worth = true;
    // A paused queue or one without rate is woken by what changes it, or when its rate comes back.
    nextAt = Math.min(
      nextAt,
      due > now ? due : Infinity,
      dead > now ? dead : Infinity,
      late > now ? late : Infinity,
      waits && rateAt > now ? rateAt : Infinity,
    );
  }
  return { worth, nextAt: nextAt === Infinity ? undefined : nextAt };
}
