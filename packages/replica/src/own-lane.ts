// The lane of this process: it numbers the requests, one under way at a time, and keeps what became of the last.
import { randomUUID } from "node:crypto";
import type { WriteCommand } from "./command.ts";
import type { CommitRequest, Lane, LaneRequest } from "./commit.ts";
import type { Machine, RequestOutcome } from "./machine.ts";

export class OwnLane {
  #lane: Lane = { id: "", since: 0 };
  #n = 0;
  /** What the request under way did, once a commit with it was applied. */
  #outcome: RequestOutcome | undefined;

  get id(): string {
    return this.#lane.id;
  }
  /** Takes a new lane, made at this position. What was sent on the one before may still take effect; nobody waits for it any more. */
  renew(position: number): void {
    this.#lane = { id: randomUUID(), since: position };
    this.#n = 0;
    this.#outcome = undefined;
  }
  /** The next request. */
  next(operations: readonly WriteCommand[]): LaneRequest {
    this.#outcome = undefined;
    return { lane: this.#lane, n: ++this.#n, operations };
  }
  /** A commit with this request was applied. The first says what it did; a second copy of it only repeats that. */
  applied(request: CommitRequest, outcome: RequestOutcome): void {
    if (request.lane?.id === this.#lane.id && request.n === this.#n) this.#outcome ??= outcome;
  }
  /** What became of the request under way: as its commit was applied here, or as a checkpoint tells it. `undefined`: nothing yet. */
  outcome({ lane, n }: LaneRequest, machine: Machine): RequestOutcome | undefined {
    if (this.#outcome !== undefined) return this.#outcome;
    const answers = machine.answersOf(lane.id, n);
    return answers === undefined ? undefined : { state: "duplicate", answers };
  }
}
