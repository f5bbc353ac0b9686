// Reserving: the best tasks of each queue that its limits let start, each with a lease of its own.
import { randomBytes } from "node:crypto";
import type { DependencyOutcome, Lease, ReserveRequest, StoredTask } from "@omniq/core";
import { setAside } from "./damage.ts";
import { refill, takeSlot } from "./groups.ts";
import { decide } from "./outcomes.ts";
import {
  claimColumns,
  edgesOf,
  expired,
  isSoundClaim,
  isSoundEdge,
  slimColumns,
  tokenOf,
  toOutcomes,
  type ClaimRow,
  type EdgeRow,
  type SlimRow,
} from "./task-row.ts";
import type { Sql, Transacting } from "./sql.ts";
import { upkeep } from "./upkeep.ts";

/** How many tasks one reserve promotes, expires or takes back in one queue at most. */
const upkeepBound = 1_000;

/** A queue's settings, and what is known of its tasks without looking at any of them. */
interface QueueRow {
  readonly paused: number;
  readonly max_active: number | null;
  readonly rate_limit: number | null;
  readonly rate_window: number | null;
  readonly rate_arrival: number | null;
  /** When the next scheduled task is due, a lease runs out, a waiting task expires. */
  readonly due: number | null;
  readonly dead: number | null;
  readonly late: number | null;
  /** 1: tasks are ready. */
  readonly waits: number;
}

/** One statement, since each that runs outside a transaction locks the file anew, which costs more than all that it looks up. */
const queueText = `SELECT paused, max_active, rate_limit, rate_window, rate_arrival,
    (SELECT min(run_at) FROM {p}_tasks WHERE state = 1 AND queue = q.name) AS due,
    (SELECT min(deadline) FROM {p}_tasks WHERE state = 4 AND queue = q.name) AS dead,
    (SELECT min(expires_at) FROM {p}_tasks
      WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4 AND queue = q.name) AS late,
    EXISTS (SELECT 1 FROM {p}_tasks WHERE state = 2 AND queue = q.name) AS waits
  FROM {p}_queues q WHERE name = ?`;

/** Settings and times that cannot be read count as not set; a bucket is never emptier than a whole window. */
function queueRow(sql: Sql, queue: string, now: number): QueueRow | undefined {
  const row = sql.get<QueueRow>(queueText, queue);
  if (row === undefined) return undefined;
  const rated = isPositive(row.rate_limit) && isPositive(row.rate_window);
  const arrival = typeof row.rate_arrival === "number" ? row.rate_arrival : 0;
  return {
    paused: row.paused,
    max_active: Number.isSafeInteger(row.max_active) && (row.max_active as number) >= 0 ? row.max_active : null,
    rate_limit: rated ? row.rate_limit : null,
    rate_window: rated ? row.rate_window : null,
    rate_arrival: rated ? Math.min(arrival, now + 2 * (row.rate_window as number)) : null,
    due: timeOf(row.due),
    dead: timeOf(row.dead),
    late: timeOf(row.late),
    waits: row.waits,
  };
}

function isPositive(value: number | null): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

function timeOf(value: number | null): number | null {
  return typeof value === "number" ? value : null;
}

function min(...times: readonly (number | null)[]): number {
  return Math.min(...times.map((time) => time ?? Infinity));
}

/** So many queues are looked at one by one; of more, those that have live tasks are found first. */
const fewQueues = 16;
const usedText = `WITH RECURSIVE ${[1, 2, 4]
  .map((state) => {
    const next = (from: string): string => `SELECT min(queue) FROM {p}_tasks WHERE state = ${state}${from}`;
    return `s${state}(name) AS (${next("")} UNION ALL SELECT (${next(` AND queue > s${state}.name`)}) FROM s${state} WHERE name IS NOT NULL)`;
  })
  .join(
    ", ",
  )}, late(name) AS (${nextLate("")} UNION ALL SELECT (${nextLate(" AND queue > late.name")}) FROM late WHERE name IS NOT NULL)
  SELECT name FROM s1 UNION SELECT name FROM s2 UNION SELECT name FROM s4 UNION SELECT name FROM late`;

function nextLate(from: string): string {
  return `SELECT min(queue) FROM {p}_tasks WHERE expires_at IS NOT NULL AND started_at IS NULL AND state < 4${from}`;
}

function withTasks(sql: Sql, queues: readonly string[]): Iterable<string> {
  if (queues.length <= fewQueues) return new Set(queues);
  const used = new Set(sql.rows<[string]>(usedText).map(([name]) => name));
  return new Set(queues.filter((queue) => used.has(queue)));
}

export function reserveTasks(tx: Transacting, request: ReserveRequest): Lease[] {
  const leases: Lease[] = [];
  const batch: Batch = {
    ...{ token: randomBytes(12).toString("base64url"), leases, request },
    bytesLeft: request.maxBytes ?? Infinity,
  };
  for (const queue of withTasks(tx.sql, request.queues)) {
    if (leases.length >= request.limit || batch.bytesLeft <= 0) break;
    const row = queueRow(tx.sql, queue, tx.now);
    if (row === undefined) continue;
    if (min(row.due, row.dead, row.late) <= tx.now) upkeep(tx, queue, upkeepBound);
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

interface Batch {
  readonly token: string;
  readonly leases: Lease[];
  readonly request: ReserveRequest;
  /** What payloads and dependencies' values may still have; 0 or less ends the batch. */
  bytesLeft: number;
}

// `octet_length` is read from the row's header, so that a large text is not read for it.
const bytesText = `octet_length(payload)
  + iif(edges > 0, (SELECT coalesce(sum(octet_length(value)), 0) FROM {p}_dependencies WHERE child = seq), 0)`;
const nextText = "FROM {p}_tasks WHERE state = 2 AND queue = ? ORDER BY priority DESC, ready_at, seq LIMIT ?";
const totalText = `SELECT count(*), coalesce(sum(bytes), 0) FROM (SELECT ${bytesText} AS bytes ${nextText})`;
const eachText = `SELECT ${bytesText} ${nextText}`;

/** How many of the next `limit` tasks fit into what the batch may still hold; the first task of a batch always does. */
function fitting(tx: Transacting, queue: string, limit: number, batch: Batch): number {
  if (batch.bytesLeft === Infinity) return limit;
  const [[count, total] = [0, 0]] = tx.sql.rows<[number, number]>(totalText, queue, limit);
  if (total <= batch.bytesLeft) {
    batch.bytesLeft -= total;
    return count;
  }
  let fits = 0;
  for (const [bytes] of tx.sql.rows<[number | null]>(eachText, queue, limit)) {
    const enough = (bytes ?? 0) > batch.bytesLeft;
    if (enough && (fits > 0 || batch.leases.length > 0)) {
      batch.bytesLeft = 0;
      break;
    }
    batch.bytesLeft -= bytes ?? 0;
    fits++;
    if (enough) break;
  }
  return fits;
}

const claimText = `SELECT ${claimColumns} ${nextText}`;

function take(tx: Transacting, queue: string, room: number, batch: Batch): void {
  const end = batch.leases.length + room;
  for (let again = true; again && batch.leases.length < end;) {
    const left = batch.bytesLeft;
    const limit = fitting(tx, queue, end - batch.leases.length, batch);
    if (limit <= 0) return;
    const taken = batch.leases.length;
    again = takeRows(tx, queue, tx.sql.rows<ClaimRow>(claimText, queue, limit), batch);
    // Of rows that were not taken nothing is held.
    if (again && left !== Infinity) batch.bytesLeft = left - bytesOf(batch.leases, taken);
  }
}

function bytesOf(leases: readonly Lease[], from: number): number {
  let bytes = 0;
  for (const { task, dependencies } of leases.slice(from)) {
    bytes += Buffer.byteLength(task.payload);
    for (const { value } of dependencies) bytes += value === undefined ? 0 : Buffer.byteLength(value);
  }
  return bytes;
}

/** Takes rows of the ready index; says whether there may be others now, to be looked for again. */
function takeRows(tx: Transacting, queue: string, rows: readonly ClaimRow[], batch: Batch): boolean {
  const { sql, now } = tx;
  const deadline = now + Math.ceil(batch.request.leaseMs);
  const taken: number[] = [];
  let again = false;
  for (const row of rows) {
    const [seq, , , , , , , , , , , startedAt, expiresAt, , slot, edgeCount, groupKey] = row;
    const edges = edgeCount === 0 ? noEdges : edgesOf(sql, seq);
    if (!isSoundClaim(row) || edges.length !== edgeCount || !edges.every(isClosed)) {
      // One that cannot even be set aside is passed by.
      if (setAside(tx, seq)) again = true;
      if (groupKey !== null) break;
      continue;
    }
    if (expiresAt !== null && startedAt === null && expiresAt <= now) {
      const late = sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE seq = ?`, seq);
      if (late !== undefined) decide(tx, late, expired);
      again = true;
      // Its group may have put another into the index, at a place before the next row.
      if (groupKey !== null) break;
      continue;
    }
    batch.leases.push(leaseOf(tx, queue, row, edges, tokenOf(batch.token, seq), deadline));
    taken.push(seq);
    if (groupKey === null || slot === 1) continue;
    sql.run("UPDATE {p}_tasks SET slot = 1, state = 4 WHERE seq = ?", seq);
    takeSlot(tx, queue, groupKey);
    if (refill(tx, queue, groupKey)) {
      again = true;
      break;
    }
  }
  if (taken.length > 0) {
    sql.run(
      `UPDATE {p}_tasks SET state = 4, attempt = attempt + 1, token = ? || '.' || seq, deadline = ?, started_at = coalesce(started_at, ?)
       WHERE seq IN (SELECT value FROM json_each(?))`,
      batch.token,
      deadline,
      now,
      `[${taken.join()}]`,
    );
  }
  return again;
}

const noEdges: readonly EdgeRow[] = [];

/** A task that is ready knows how all that it depends on has ended. */
function isClosed(edge: EdgeRow): boolean {
  return edge.status !== null && isSoundEdge(edge);
}

/** Written out: this runs for every task, and building the object step by step costs several times as much. */
function leaseOf(
  tx: Transacting,
  queue: string,
  row: ClaimRow,
  edges: readonly EdgeRow[],
  token: string,
  deadline: number,
): Lease {
  const [, id, name, priority, run, before, expiries, maxAttempts, resultTtlMs, enqueuedAt, runAt, startedAt] = row;
  const [, , , , , , , , , , , , expiresAt, cancelling, , , key, limit, dedupKey, progress, error, envelope, payload] =
    row;
  const attempt = before + 1;
  const task: { -readonly [K in keyof StoredTask]: StoredTask[K] } = {
    id,
    name,
    queue,
    payload,
    envelope,
    priority,
    maxAttempts,
    resultTtlMs,
    state: "active",
    run,
    attempt,
    expiries,
    enqueuedAt,
    runAt,
    startedAt: startedAt ?? tx.now,
    cancelling: cancelling === 1,
  };
  if (expiresAt !== null) task.expiresAt = expiresAt;
  if (dedupKey !== null) task.deduplicationKey = dedupKey;
  if (key !== null) task.group = { key, limit: limit ?? 1 };
  if (progress !== null) task.progress = progress;
  if (error !== null) task.error = error;
  let dependencies = noOutcomes;
  if (edges.length > 0) {
    task.dependencies = edges.map((edge) => edge.parent_id);
    dependencies = toOutcomes(edges);
  }
  return {
    taskId: id,
    queue,
    token,
    run,
    attempt,
    task,
    deadline,
    sentAt: tx.sentAt,
    cancelling: cancelling === 1,
    dependencies,
  };
}

const noOutcomes: readonly DependencyOutcome[] = [];

/** What can be seen without the write lock. */
export interface Outlook {
  /** A reserve may find something. */
  readonly worth: boolean;
  /** When the next task is due or expires, a lease runs out, or the rate allows one. */
  readonly nextAt: number | undefined;
}

/** Looks no further than to the first queue that is worth it, unless it is to look at `all`. */
export function lookAhead(sql: Sql, queues: readonly string[], now: number, all: "all" | undefined): Outlook {
  let worth = false;
  let nextAt = Infinity;
  for (const queue of withTasks(sql, queues)) {
    if (worth && all === undefined) break;
    const row = queueRow(sql, queue, now);
    if (row === undefined) continue;
    const due = row.due ?? Infinity;
    const dead = row.dead ?? Infinity;
    const late = row.late ?? Infinity;
    const waits = row.waits === 1;
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
