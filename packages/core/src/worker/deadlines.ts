// Time in a worker, one timer for all that it holds: attempts that run too long are ended, and what waits too long behind others goes back.
import { OmniQError } from "../errors.ts";
import type { Ending } from "./ending.ts";
import type { Execution } from "./execution.ts";
import { timedOut, type Failure } from "./failures.ts";
import { leaseLost } from "./heartbeats.ts";

/** A prefetched task that has waited so long behind others goes back, however often slots came free, so that another worker can have it. */
const patienceMs = 1_000;
/** What a timer of Node takes. */
const longestMs = 2_147_483_647;

/** Whose time it is. */
export interface DeadlinesHost {
  held(): Iterable<Execution>;
  end(execution: Execution, ending: Ending): void;
  fail(execution: Execution, failure: Failure): void;
  overdue(execution: Execution): boolean;
  /** Since when every slot is taken and none came free; `undefined` while one is free. */
  fullSince(): number | undefined;
  /** For how long that may be. */
  standstillMs(): number;
  /** It was for longer: handlers are slow, so that nothing may wait behind them. */
  stalled(): void;
}

export class Deadlines {
  readonly #host: DeadlinesHost;
  #timer: NodeJS.Timeout | undefined;
  #at = Number.POSITIVE_INFINITY;

  constructor(host: DeadlinesHost) {
    this.#host = host;
  }

  /** Tasks came at this time, by `performance.now()`, and may have to wait. */
  came(now: number): void {
    this.watch(now + Math.min(patienceMs, this.#host.standstillMs()));
  }
  /** Looks at this time, by `performance.now()`, at the latest. */
  watch(at: number): void {
    if (at >= this.#at) return;
    this.#at = at;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), Math.min(Math.max(1, Math.ceil(at - performance.now())), longestMs));
  }
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#at = Number.POSITIVE_INFINITY;
  }

  #look(): void {
    this.#at = Number.POSITIVE_INFINITY;
    const host = this.#host;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    const fullSince = host.fullSince();
    if (fullSince !== undefined) {
      const at = fullSince + host.standstillMs();
      if (now >= at) host.stalled();
      else next = at;
    }
    for (const execution of [...host.held()]) {
      if (execution.phase === "waiting") {
        if (now - execution.heldSince < patienceMs) next = Math.min(next, execution.heldSince + patienceMs);
        else if (execution.slot === undefined && execution.definition?.handler.kind === "single") {
          host.stalled();
          host.end(execution, { kind: "release" });
        }
        continue;
      }
      if (execution.phase !== "running") continue;
      if (execution.aborted === undefined && host.overdue(execution)) execution.abort(leaseLost(execution));
      if (now >= execution.timeoutAt) this.#timeOut(execution);
      else next = Math.min(next, execution.timeoutAt);
    }
    if (next !== Number.POSITIVE_INFINITY) this.watch(next);
  }
  #timeOut(execution: Execution): void {
    const { taskId, task } = execution.lease;
    const timeout = new OmniQError(
      "OMNIQ_TIMEOUT",
      `The task ${taskId} (${task.name}) ran for longer than its ${execution.envelope.timeoutMs} ms`,
      { taskId },
    );
    execution.abort(timeout);
    this.#host.fail(execution, timedOut({ id: taskId, name: task.name }, timeout));
  }
}
