// Claims: what a reserve asks, what it gives, and what is remembered from one to the next.
import { randomBytes } from "node:crypto";
import type { Lease, ReserveRequest } from "@omniq/core";
import { Columns } from "./columns.ts";
import type { Row } from "./connection.ts";
import { byOrder, deadlineOf, placeInLane, toLease } from "./task-rows.ts";

/** Dead leases are looked for at most so often while claims come back full; one that does not always looks. */
const upkeepMs = 100;
/** How long a remembered beginning of a queue is trusted. What was committed late before it is found after this at the latest. */
const placeMs = 500;

interface Place {
  readonly readyAt: number;
  readonly seq: number;
}

export interface Claim {
  readonly columns: Columns;
  readonly queues: readonly string[];
  readonly token: string;
}

export interface ClaimAnswer {
  readonly leases: Lease[];
  /** When there are none: in how many milliseconds something may be there. */
  readonly nextInMs: number | undefined;
}

/**
 * Claims of one process. Between claims it remembers where each queue's ready tasks begin, since the index entries of what was claimed
 * stay until the next vacuum, and stepping over them would make each claim slower than the one before.
 */
export class Claims {
  readonly #places = new Map<string, Place>();
  #wholeAt = -Infinity;
  #upkeepAt = -Infinity;

  begin(request: ReserveRequest): Claim {
    const now = performance.now();
    const queues = [...new Set(request.queues)];
    const token = randomBytes(12).toString("base64url");
    if (now - this.#wholeAt > placeMs) {
      this.#places.clear();
      this.#wholeAt = now;
    }
    const upkeep = now - this.#upkeepAt > upkeepMs;
    if (upkeep) this.#upkeepAt = now;
    const places = queues.map((queue) => this.#places.get(queue));
    const columns = new Columns()
      .text(queues)
      .value(request.limit, "integer")
      .value(Math.ceil(request.leaseMs), "bigint")
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
      );
    return { columns, queues, token };
  }

  read(claim: Claim, rows: readonly Row[], sentAt: number): ClaimAnswer {
    const next = rows.find((row) => row[0] === -1);
    const claimed = rows.filter((row) => (row[0] as number) > 0).sort(byOrder);
    for (const row of claimed) {
      const place = placeInLane(row);
      if (place !== undefined) this.#places.set(row[3] as string, place);
    }
    return {
      leases: claimed.map((row) => toLease(row, claim.token, sentAt)),
      nextInMs: next === undefined ? undefined : deadlineOf(next),
    };
  }
}
