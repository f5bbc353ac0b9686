// Claims: what a reserve asks, what it gives, and what is remembered from one to the next.
import { randomFillSync } from "node:crypto";
import type { Lease, LeaseReference, ReserveRequest } from "@omniq/core";
import { Columns } from "./columns.ts";
import { readList, type Row } from "./connection.ts";
import { byOrder, deadlineOf, isSound, storedToken, toPlaced } from "./task-rows.ts";

/** What one claim gives at most, whatever is asked for: it is held in memory as one answer. */
const mostBytes = 134_217_728;
const bytesOf = ({ maxBytes }: ReserveRequest): number => Math.ceil(Math.min(maxBytes ?? mostBytes, mostBytes));

/** Dead leases are looked for at most so often while claims come back full; one that does not always looks. */
const upkeepMs = 100;
/**
 * How often a claim looks at a queue from its true beginning though it gives enough further on, and so finds what was committed late: at
 * most so often, and so much longer than the look took, since it steps over all that is claimed and all that a vacuum has not removed yet.
 */
const wholeMs = { least: 500, most: 5_000, times: 20 };

const pool = Buffer.allocUnsafe(12 * 256);
let used = pool.length;
/** The token of a claim. Random bytes are drawn in bulk. */
function newToken(): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += 12;
  return pool.toString("base64url", used - 12, used);
}

interface Place {
  readonly readyAt: number;
  readonly seq: number;
}

/** The last look at a queue from its beginning, and how long after it the next is due. */
interface Look {
  readonly at: number;
  dueMs: number;
}

export interface Claim {
  readonly queues: readonly string[];
  readonly token: string;
  readonly leaseMs: number;
  readonly done: readonly string[];
  /** Those of its queues at which it looks from the beginning, since that was due. */
  readonly looks: readonly Look[];
}

export interface ClaimAnswer {
  readonly leases: Lease[];
  /** When there are none: in how many milliseconds something may be there. */
  readonly nextInMs: number | undefined;
  /** Tasks that were leased and cannot be read. */
  readonly damaged: readonly string[];
  /** Tasks that were set aside on the way, and queues in which something may be ready since. */
  readonly aside: readonly string[];
  readonly wake: readonly string[];
}

/**
 * Claims of one process. Between claims it remembers where each queue's ready tasks begin, since the index entries of what was claimed
 * stay until the next vacuum, and stepping over them would make each claim slower than the one before.
 */
export class Claims {
  readonly #places = new Map<string, Place>();
  /** Tasks by the token of their leases, of those that are not settled yet, and when that does not matter any more. */
  readonly #open = new Map<string, { readonly tasks: Set<string>; readonly until: number }>();
  /** Tokens of leases that have all been settled. The queue is told with a claim, and may forget them. */
  readonly #done = new Set<string>();
  readonly #looks = new Map<string, Look>();
  #upkeepAt = -Infinity;

  begin(request: ReserveRequest): Claim & { readonly columns: Columns } {
    const now = performance.now();
    const queues = [...new Set(request.queues)];
    const token = newToken();
    const looks: Look[] = [];
    const places = queues.map((queue) => {
      const last = this.#looks.get(queue);
      if (last !== undefined && now - last.at <= last.dueMs) return this.#places.get(queue);
      const look = { at: now, dueMs: wholeMs.least };
      this.#looks.set(queue, look);
      looks.push(look);
      return undefined;
    });
    if (looks.length > 0) for (const [token, { until }] of this.#open) if (until < now) this.#open.delete(token);
    const upkeep = now - this.#upkeepAt > upkeepMs;
    if (upkeep) this.#upkeepAt = now;
    const leaseMs = Math.ceil(request.leaseMs);
    const done = [...this.#done];
    const columns = new Columns()
      .text(queues)
      .value(request.limit, "integer")
      .value(leaseMs, "bigint")
      .value(request.worker, "text")
      .value(token, "text")
      .value(upkeep, "boolean")
      .of(
        "bigint",
        places.map((place) => place?.readyAt ?? 0),
      )
      .of(
        "bigint",
        places.map((place) => place?.seq ?? 0),
      )
      .text(done)
      .value(bytesOf(request), "bigint");
    return { columns, queues, token, leaseMs, done, looks };
  }

  /** The claim of a worker that was woken and drains one queue: it finds little, and is quick about it. `undefined` for others. */
  beginFew(request: ReserveRequest): (Claim & { readonly values: readonly unknown[] }) | undefined {
    const { queues, limit, leaseMs: wanted, worker } = request;
    const [queue] = queues;
    if (queue === undefined || queues.length > 1) return undefined;
    const token = newToken();
    const leaseMs = Math.ceil(wanted);
    const place = this.#places.get(queue);
    const values = [queue, limit, leaseMs, worker, token, place?.readyAt ?? 0, place?.seq ?? 0, bytesOf(request)];
    return { values, queues, token, leaseMs, done: [], looks: [] };
  }

  /** What has been settled, or was found lost. */
  settled(settlements: readonly LeaseReference[]): void {
    for (const { taskId, token } of settlements) {
      const stored = storedToken(token);
      const open = this.#open.get(stored);
      if (open?.tasks.delete(taskId) !== true || open.tasks.size > 0) continue;
      this.#open.delete(stored);
      this.#done.add(stored);
    }
  }

  read(claim: Claim, rows: readonly Row[], sentAt: number): ClaimAnswer {
    const next = rows.find((row) => row[0] === -1);
    const aside = rows.filter((row) => row[0] === -3);
    for (const token of claim.done) this.#done.delete(token);
    const pauseMs = (performance.now() - sentAt) * wholeMs.times;
    for (const look of claim.looks) look.dueMs = Math.min(Math.max(pauseMs, wholeMs.least), wholeMs.most);
    const placed = rows.flatMap((row) => {
      const position = row[0] as number;
      return position < 0 ? [] : toPlaced(row, claim.queues[position - 1] as string, claim, sentAt);
    });
    placed.sort(byOrder);
    const damaged = placed.filter((one) => !isSound(one)).map(({ lease }) => lease.taskId);
    const sound = damaged.length === 0 ? placed : placed.filter(isSound);
    const leases = sound.map(({ lease, readyAt, seq, usual }) => {
      if (usual && !isBefore({ readyAt, seq }, this.#places.get(lease.queue)))
        this.#places.set(lease.queue, { readyAt, seq });
      return lease;
    });
    if (leases.length > 0) {
      const tasks = new Set(leases.map((lease) => lease.taskId));
      this.#open.set(claim.token, { tasks, until: performance.now() + claim.leaseMs });
    }
    return {
      leases,
      damaged,
      nextInMs: next === undefined ? undefined : deadlineOf(next),
      aside: aside.flatMap((row) => readList(row[4])),
      wake: aside.flatMap((row) => readList(row[5])),
    };
  }
}

function isBefore(one: Place, other: Place | undefined): boolean {
  if (other === undefined) return false;
  return one.readyAt === other.readyAt ? one.seq < other.seq : one.readyAt < other.readyAt;
}
