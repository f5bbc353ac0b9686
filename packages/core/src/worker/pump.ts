// All traffic with the task queue but heartbeats: reserves what there is room for, and settles what has ended, in natural batches.
import { AsyncResource } from "node:async_hooks";
import type { Lease, ReserveRequest, SettleState } from "../contracts/index.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import { admit, type AdmissionHost } from "./admission.ts";
import { fitting, lengthOf, type Item } from "./ending.ts";
import { settleApart } from "./refusals.ts";
import { backoffMs } from "./sleep.ts";

/** How long one reserve waits at the backend; asked again at once after it. */
const pollMs = 10_000;
/** What the pump asks of the worker. */
export interface PumpHost extends AdmissionHost {
  readonly queues: readonly string[];
  readonly name: string;
  readonly maxReserveBytes: number;
  /** Tasks start in the order in which the queue gives them. */
  readonly ordered: boolean;
  /** `wait`: poll for tasks. `drain`: only what is ready. `stop`: take nothing more. */
  mode(): "wait" | "drain" | "stop";
  capacity(): number;
  /** How many more leases the worker can hold. */
  room(): number;
  held(): number;
  leased(leases: readonly Lease[], now: number, wallNow: number): void;
  roundTrip(ms: number): void;
  /** The client or the backend was closed. */
  closed(): void;
}

export class Pump {
  readonly #host: PumpHost;
  /** Handlers see the context in which the worker was made, not that of the call that happened to open an adapter's connection. */
  readonly #scope = new AsyncResource("OmniQWorker");
  #pending: Item[] = [];
  #calls = 0;
  #asked = 0;
  /** Calls under way that take tasks, and that give some back. */
  #taking = 0;
  #releasing = 0;
  #poll: AbortController | undefined;
  #scheduled = false;
  #failures = 0;
  #resumeAt = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Nothing was ready, and nothing was settled since. */
  #emptied = false;
  /** The queue has answered once. */
  #answered = false;
  #abandoned = false;
  #first: { resolve: () => void; reject: (error: unknown) => void } | undefined;
  #idle: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(host: PumpHost) {
    this.#host = host;
  }

  /** Sends an ending with the next call. */
  push(item: Item): void {
    this.#pending.push(item);
    // Past its deadline each turn of the event loop may give the task to another; so at once.
    if (this.#host.overdue(item.execution)) this.#run();
    else this.kick();
  }
  kick(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#run();
    });
  }
  /** Ends the wait for tasks. */
  interrupt(): void {
    this.#poll?.abort(new OmniQError("OMNIQ_CLOSED", "The worker stops"));
    this.#first?.reject(new OmniQError("OMNIQ_CLOSED", "The worker was stopped before it took tasks"));
    this.#first = undefined;
    this.kick();
  }
  /** Ends a wait for tasks that there is no room for any more; one that is still wanted begins anew. */
  retreat(): void {
    if (this.#poll === undefined || this.#host.room() >= this.#asked) return;
    this.#poll.abort(new OmniQError("OMNIQ_CLOSED", "The worker has no room"));
  }
  /** Resolves when the queue has answered for the first time; rejects when it refuses for good, or the worker stops before. */
  answered(): Promise<void> {
    if (this.#answered) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
    });
  }
  /** Resolves when nothing is ready and nothing is held; rejects when the queue does not answer for long. */
  drained(): Promise<void> {
    this.#emptied = false;
    return new Promise((resolve, reject) => {
      this.#idle = { resolve, reject };
      this.kick();
    });
  }
  /** Nothing is on its way to the queue or from it. */
  get quiet(): boolean {
    return this.#pending.length === 0 && this.#calls === 0 && this.#poll === undefined;
  }
  /** Gives up what could not be sent. */
  abandon(): void {
    this.#abandoned = true;
    clearTimeout(this.#timer);
    const pending = this.#pending;
    this.#pending = [];
    for (const item of pending) this.#host.settled(item, "lost");
  }

  #run(): void {
    const host = this.#host;
    const { taskQueue } = host.runtime;
    const now = performance.now();
    if (now < this.#resumeAt && !this.#abandoned) {
      this.#timer ??= setTimeout(
        () => {
          this.#timer = undefined;
          this.#run();
        },
        this.#resumeAt - now + 1,
      );
      return;
    }
    const { maxBatch } = taskQueue.capabilities;
    for (;;) {
      const mode = host.mode();
      // Two calls that take may change places on their way, so that where order matters there is one, which takes all that there is room for.
      const half = host.ordered ? host.capacity() : Math.ceil(host.capacity() / 2);
      const free = mode === "stop" || (mode === "drain" && this.#emptied) ? 0 : host.room() - this.#asked;
      // A second call in flight pays only if it is worth a batch; else what ends meanwhile rides in the next.
      if (
        this.#pending.length > 0 &&
        (this.#calls === 0 || (this.#calls === 1 && this.#pending.length + Math.max(0, free) >= half))
      ) {
        const batch = this.#pending.splice(0, fitting(this.#pending, 0, maxBatch, lengthOf));
        const mayTake = taskQueue.settleAndReserve !== undefined && this.#mayTake();
        void this.#send(batch, mayTake ? Math.max(0, Math.min(free, half, maxBatch)) : 0);
        continue;
      }
      if (free > 0 && this.#poll === undefined && this.#mayTake()) {
        void this.#reserve(Math.min(free, half, maxBatch), mode);
        continue;
      }
      break;
    }
    if (this.#idle !== undefined && (this.#emptied || host.mode() === "stop") && this.quiet && host.held() === 0) {
      const { resolve } = this.#idle;
      this.#idle = undefined;
      resolve();
    }
  }

  #mayTake(): boolean {
    return !this.#host.ordered || (this.#taking === 0 && this.#releasing === 0);
  }
  #request(limit: number, waitMs: number): ReserveRequest {
    const { queues, leaseMs, name, maxReserveBytes } = this.#host;
    return { queues, limit, leaseMs, waitMs, worker: name, maxBytes: maxReserveBytes };
  }
  #succeeded(): void {
    this.#failures = 0;
    if (this.#answered) return;
    this.#answered = true;
    this.#first?.resolve();
    this.#first = undefined;
  }

  async #reserve(limit: number, mode: "wait" | "drain" | "stop"): Promise<void> {
    const host = this.#host;
    const poll = new AbortController();
    this.#poll = poll;
    this.#asked += limit;
    this.#taking += 1;
    let found = false;
    const leased = (leases: readonly Lease[]): void => {
      found = true;
      host.leased(leases, performance.now(), Date.now());
    };
    const onLeases = (leases: readonly Lease[]): void => this.#scope.runInAsyncScope(leased, undefined, leases);
    const start = performance.now();
    try {
      if (mode === "drain") this.#emptied = true;
      // The first asks whether the queue answers at all.
      const waitMs = mode === "wait" && this.#answered ? pollMs : 0;
      const request = this.#request(limit, waitMs);
      const taken = await host.runtime.taskQueue.reserve(request, { signal: poll.signal, onLeases });
      this.#succeeded();
      if (taken.length > 0) leased(taken);
      if (found) this.#emptied = false;
      // A backend that answers "nothing" at once, whatever it was asked, must not be asked in a tight loop.
      else if (waitMs > 0 && performance.now() - start < 5) this.#resumeAt = performance.now() + 50;
    } catch (error) {
      this.#emptied = false;
      if (!poll.signal.aborted) this.#failed("reserving", error);
    }
    this.#asked -= limit;
    this.#taking -= 1;
    this.#poll = undefined;
    this.kick();
  }

  async #send(batch: readonly Item[], limit: number): Promise<void> {
    const host = this.#host;
    const { taskQueue } = host.runtime;
    const takes = limit > 0 ? 1 : 0;
    const releases = host.ordered && batch.some(({ ending }) => ending.kind === "release") ? 1 : 0;
    this.#calls += 1;
    this.#asked += limit;
    this.#taking += takes;
    this.#releasing += releases;
    let waiting: readonly Item[] = batch;
    let leases: readonly Lease[] = [];
    try {
      waiting = await admit(host, batch);
      if (waiting.length > 0) {
        const settlements = waiting.map((item) => item.settlement as NonNullable<Item["settlement"]>);
        const start = performance.now();
        let states: readonly SettleState[];
        if (limit > 0 && taskQueue.settleAndReserve !== undefined && host.mode() !== "stop") {
          const answer = await taskQueue.settleAndReserve(settlements, this.#request(limit, 0));
          ({ states, leases } = answer);
        } else {
          states = await taskQueue.settle(settlements);
        }
        host.roundTrip(performance.now() - start);
        const settled = waiting;
        waiting = [];
        this.#emptied = false;
        settled.forEach((item, index) => host.settled(item, states[index] ?? "lost"));
      }
      this.#succeeded();
    } catch (error) {
      // What was found to be lost on the way is not sent again.
      waiting = waiting.filter(({ execution }) => execution.phase !== "over");
      if (this.#abandoned) for (const item of waiting) host.settled(item, "lost");
      else if (isOmniQError(error) && (error.retryable || error.code === "OMNIQ_CLOSED")) {
        this.#pending = [...waiting, ...this.#pending];
        this.#failed("settling", error);
      } else {
        this.#emptied = false;
        this.#pending = [...(await settleApart(host, waiting, error)), ...this.#pending];
      }
    }
    this.#asked -= limit;
    this.#calls -= 1;
    this.#taking -= takes;
    this.#releasing -= releases;
    if (leases.length > 0) host.leased(leases, performance.now(), Date.now());
    this.kick();
  }

  #failed(doing: string, error: unknown): void {
    const host = this.#host;
    if (isOmniQError(error, "OMNIQ_CLOSED")) {
      host.closed();
      this.#idle?.reject(error);
      this.#idle = undefined;
      return;
    }
    this.#failures += 1;
    const pauseMs = backoffMs(this.#failures);
    this.#resumeAt = performance.now() + pauseMs;
    host.runtime.logger.warn(`The task queue failed while ${doing}; it is tried again`, {
      pauseMs: Math.round(pauseMs),
      error,
    });
    const retryable = isOmniQError(error) && error.retryable;
    if (!retryable) {
      this.#first?.reject(error);
      this.#first = undefined;
    }
    if (this.#idle !== undefined && (!retryable || this.#failures >= 12)) {
      this.#idle.reject(error);
      this.#idle = undefined;
    }
  }
}
