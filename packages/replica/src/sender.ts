// Brings requests into the log exactly once, whatever answers are lost and whoever else writes.
import { isOmniQError, OmniQError } from "@omniq/core";
import { randomUUID } from "node:crypto";
import type { WriteCommand } from "./command.ts";
import { encodeCommit, writtenCommit, type Commit, type LaneRequest } from "./commit.ts";
import type { OperationAnswer, RequestOutcome } from "./machine.ts";
import type { AppendAnswer, OrderedLog } from "./ordered-log.ts";
import { defaultResendMs, type ReplicaOptions } from "./replica-options.ts";
import type { Replay } from "./replay.ts";
import { pause } from "./waiting.ts";

const defaultGiveUpMs = 30_000;

export class Sender {
  readonly #log: OrderedLog;
  readonly #replay: Replay;
  readonly #ended: AbortSignal;
  readonly #giveUpMs: number;
  readonly #resendMs: number;

  constructor(log: OrderedLog, options: ReplicaOptions, replay: Replay, ended: AbortSignal) {
    this.#log = log;
    this.#replay = replay;
    this.#ended = ended;
    this.#giveUpMs = options.giveUpMs ?? defaultGiveUpMs;
    this.#resendMs = options.resendMs ?? defaultResendMs;
  }

  /** Brings one request into the log and answers what it did. One at a time. */
  async send(operations: readonly WriteCommand[]): Promise<readonly OperationAnswer[]> {
    for (;;) {
      const { outcome, inDoubt } = await this.#place(this.#replay.lane.next(operations));
      if (outcome.state !== "refused") return outcome.answers;
      this.#newLane();
      if (inDoubt) {
        throw outcomeUnknown("this process was cut off for so long that the log forgot it; look before you call again");
      }
    }
  }

  async #place(request: LaneRequest): Promise<{ readonly outcome: RequestOutcome; readonly inDoubt: boolean }> {
    const { crowd, lane } = this.#replay;
    const deadline = performance.now() + this.#giveUpMs;
    const byPosition = this.#log.ordering === "position";
    let inDoubt = false;
    const sent: Sent = { deadline, isMaybeStored: false };
    for (;;) {
      const position = this.#replay.machine.position + 1;
      const commit: Commit = {
        id: randomUUID(),
        sequence: byPosition ? position : 0,
        previous: byPosition ? this.#replay.machine.commitId : "",
        at: this.#replay.now(),
        requests: [request],
      };
      const body = this.#encode(commit);
      const { epoch } = this.#replay;
      const sentAt = performance.now();
      const answer = await this.#append(position, body, sent);
      sent.isMaybeStored = true;
      if (answer.state !== "stale") crowd.timed(performance.now() - sentAt);
      if (answer.state === "stale") {
        await this.#persist(() => this.#replay.reopen(), sent);
        inDoubt = true;
      } else if (
        answer.state === "stored" &&
        byPosition &&
        this.#replay.epoch === epoch &&
        this.#replay.machine.position === position - 1
      ) {
        // What was stored need not be read back; but it is applied as everyone else reads it.
        this.#replay.apply(writtenCommit(body), body.length, position);
        crowd.won();
        this.#replay.notify();
      } else {
        // What came first is read, and not what may come after it: the next append finds that out, a round trip sooner.
        const storedAt = answer.state === "stored" && !byPosition ? answer.position : undefined;
        const upTo = answer.state === "taken" ? position : storedAt;
        await this.#persist(() => this.#replay.catchUp(upTo), sent);
        // It is another's, then; where positions are taken once, this one will never stand there.
        if (answer.state === "taken") sent.isMaybeStored = false;
      }
      // Loaded anew since it was sent, be it only by this pass: the commit that decides may be in a checkpoint.
      if (this.#replay.epoch !== epoch) inDoubt = true;
      const outcome = lane.outcome(request, this.#replay.machine);
      if (outcome !== undefined) return { outcome, inDoubt };
      if (inDoubt && request.n > 1 && !this.#replay.machine.knowsLane(request.lane.id))
        return { outcome: { state: "refused" }, inDoubt };
      if (performance.now() > deadline) throw this.#abandon(sent);
      if (answer.state === "taken") await pause(crowd.lostMs());
    }
  }

  #encode(commit: Commit): string {
    try {
      return encodeCommit(commit);
    } catch (error) {
      // Nothing was sent; the number of the request is used up all the same.
      this.#newLane();
      throw error;
    }
  }

  /** Appends one body until the answer is definite. */
  async #append(position: number, body: string, sent: Sent): Promise<AppendAnswer> {
    for (let failure: unknown; ; failure = undefined) {
      try {
        const answer = await this.#log.append(position, body);
        if (answer.state !== "unknown") return answer;
        sent.isMaybeStored = true;
      } catch (error) {
        failure = error;
        // The store is away, or it refused for good.
        if (!isOmniQError(error) || !error.retryable || error.code === "OMNIQ_BACKEND_FULL") {
          throw this.#abandon(sent, error);
        }
      }
      this.#ended.throwIfAborted();
      if (performance.now() > sent.deadline) throw this.#abandon(sent, failure);
      await pause(this.#resendMs);
    }
  }

  /** Reads what an append needs, until the store answers. */
  async #persist(read: () => Promise<void>, sent: Sent): Promise<void> {
    for (;;) {
      try {
        await read();
        return;
      } catch (error) {
        if (this.#ended.aborted) throw error;
        if (!isOmniQError(error) || !error.retryable || performance.now() > sent.deadline)
          throw this.#abandon(sent, error);
        await pause(this.#resendMs);
      }
    }
  }

  /** Gives the request up. Where its fate is not known it may still take effect, so its lane is not used again. */
  #abandon({ isMaybeStored }: Sent, cause?: unknown): unknown {
    this.#newLane();
    if (isMaybeStored)
      return outcomeUnknown("the store did not answer in time, and it may have taken effect or not", cause);
    return (
      cause ?? new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "The store did not answer in time; nothing was changed")
    );
  }
  #newLane(): void {
    this.#replay.lane.renew(this.#replay.machine.position);
  }
}

/** What is known of a request that is under way. */
interface Sent {
  readonly deadline: number;
  isMaybeStored: boolean;
}

function outcomeUnknown(why: string, cause?: unknown): OmniQError {
  return new OmniQError(
    "OMNIQ_OUTCOME_UNKNOWN",
    `The outcome of the call is unknown: ${why}`,
    cause === undefined ? {} : { cause },
  );
}
