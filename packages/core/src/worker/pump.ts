// All traffic with the task queue but heartbeats: reserves what there is room for, and settles what has ended, in natural batches.
import { AsyncResource } from "node:async_hooks";
import type { Lease, NewEvent, ReserveRequest, SettleState, StoredResult } from "../contracts/index.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import { endingOf, resultOf, settlementOf, type Item } from "./ending.ts";
import type { EventWriter } from "./event-writer.ts";
import { outcomeEventId } from "../task-id.ts";
import { failureOf } from "../task-outcome.ts";
import { extendLeases } from "./heartbeats.ts";
import { backoffMs } from "./sleep.ts";

/** How long one reserve waits at the backend; asked again at once after it. */
const pollMs = 10_000;
/** Results in another backend than the queue's outlive a crash before the settlement for at least this long. */
export const redeliveryMs = 3_600_000;

/** What the pump asks of the worker. */
export interface PumpHost {
  readonly runtime: Runtime;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  readonly name: string;
  readonly events: EventWriter | undefined;
  /** `wait`: poll for tasks. `drain`: only what is ready. `stop`: take nothing more. */
  mode(): "wait" | "drain" | "stop";
  capacity(): number;
  /** How many more leases the worker can hold. */
  room(): number;
  held(): number;
  leased(leases: readonly Lease[], now: number, wallNow: number): void;
  settled(item: Item, state: SettleState): void;
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
  #poll: AbortController | undefined;
  #scheduled = false;
  #failures = 0;
  #resumeAt = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Nothing was ready, and nothing was settled since. */
  #emptied = false;
  #idle: { resolve: () => void; reject: (error: unknown) => void } | undefined;

  constructor(host: PumpHost) {
    this.#host = host;
  }

  /** Sends an ending with the next call. */
  push(item: Item): void {
    this.#pending.push(item);
    // Past its deadline each turn of the event loop may give the task to another; so at once.
    if (item.execution.overdue(performance.now(), Date.now())) this.#run();
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
    this.kick();
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
    clearTimeout(this.#timer);
    const pending = this.#pending;
    this.#pending = [];
    for (const item of pending) this.#host.settled(item, "lost");
  }

  #run(): void {
    const host = this.#host;
    const { taskQueue } = host.runtime;
    const now = performance.now();
    if (now < this.#resumeAt) {
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
      const half = Math.ceil(host.capacity() / 2);
      const free = mode === "stop" || (mode === "drain" && this.#emptied) ? 0 : host.room() - this.#asked;
      // A second call in flight pays only if it is worth a batch; else what ends meanwhile rides in the next.
      if (
        this.#pending.length > 0 &&
        (this.#calls === 0 || (this.#calls === 1 && this.#pending.length + Math.max(0, free) >= half))
      ) {
        const batch = this.#pending.splice(0, maxBatch);
        const limit = taskQueue.settleAndReserve === undefined ? 0 : Math.max(0, Math.min(free, half, maxBatch));
        void this.#send(batch, limit);
        continue;
      }
      if (free > 0 && this.#poll === undefined) {
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

  #request(limit: number, waitMs: number): ReserveRequest {
    const { queues, leaseMs, name } = this.#host;
    return { queues, limit, leaseMs, waitMs, worker: name };
  }

  async #reserve(limit: number, mode: "wait" | "drain" | "stop"): Promise<void> {
    const host = this.#host;
    const poll = new AbortController();
    this.#poll = poll;
    this.#asked += limit;
    let found = false;
    const leased = (leases: readonly Lease[]): void => {
      found = true;
      host.leased(leases, performance.now(), Date.now());
    };
    const onLeases = (leases: readonly Lease[]): void => this.#scope.runInAsyncScope(leased, undefined, leases);
    const start = performance.now();
    try {
      if (mode === "drain") this.#emptied = true;
      const request = this.#request(limit, mode === "wait" ? pollMs : 0);
      const taken = await host.runtime.taskQueue.reserve(request, { signal: poll.signal, onLeases });
      this.#failures = 0;
      if (taken.length > 0) leased(taken);
      if (found) this.#emptied = false;
      // A backend that answers "nothing" at once, whatever it was asked, must not be asked in a tight loop.
      else if (mode === "wait" && performance.now() - start < 5) this.#resumeAt = performance.now() + 50;
    } catch (error) {
      this.#emptied = false;
      if (!poll.signal.aborted) this.#failed("reserving", error);
    }
    this.#asked -= limit;
    this.#poll = undefined;
    this.kick();
  }

  async #send(batch: readonly Item[], limit: number): Promise<void> {
    const host = this.#host;
    const { taskQueue } = host.runtime;
    this.#calls += 1;
    this.#asked += limit;
    let waiting: readonly Item[] = batch;
    let leases: readonly Lease[] = [];
    try {
      waiting = await this.#admit(batch);
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
      this.#failures = 0;
    } catch (error) {
      if (isOmniQError(error) && (error.retryable || error.code === "OMNIQ_CLOSED")) {
        this.#pending = [...waiting, ...this.#pending];
        this.#failed("settling", error);
      } else {
        await this.#split(waiting, error);
      }
    }
    this.#asked -= limit;
    this.#calls -= 1;
    if (leases.length > 0) host.leased(leases, performance.now(), Date.now());
    this.kick();
  }

  /** One settlement that the backend refuses must not hold back the others. */
  async #split(items: readonly Item[], error: unknown): Promise<void> {
    if (items.length <= 1) {
      for (const item of items) {
        this.#host.runtime.logger.error("A task could not be settled; its lease will run out, and it comes again", {
          taskId: item.execution.lease.taskId,
          error,
        });
        this.#host.settled(item, "lost");
      }
      return;
    }
    const middle = items.length >> 1;
    for (const half of [items.slice(0, middle), items.slice(middle)]) {
      let rest: readonly Item[] = half;
      try {
        rest = await this.#admit(half);
        const states = await this.#host.runtime.taskQueue.settle(
          rest.map((item) => item.settlement as NonNullable<Item["settlement"]>),
        );
        this.#emptied = false;
        rest.forEach((item, index) => this.#host.settled(item, states[index] ?? "lost"));
      } catch (again) {
        if (isOmniQError(again) && again.retryable) this.#pending.push(...rest);
        else await this.#split(rest, again);
      }
    }
  }

  /** Everything that must be true before these are settled. Gives those that may be. */
  async #admit(batch: readonly Item[]): Promise<readonly Item[]> {
    const { runtime, leaseMs, events } = this.#host;
    const { resultStorage, resultsTogether, serializer } = runtime;
    const elsewhere = resultsTogether ? undefined : resultStorage;
    let items = batch;

    // Past the own deadline nothing is written until the queue says that the lease is held; nor is any outcome but completed, which a
    // later attempt could contradict, written to another backend.
    const now = performance.now();
    const wall = Date.now();
    const doubtful = items.filter(
      ({ execution, ending }) =>
        execution.overdue(now, wall) ||
        (elsewhere !== undefined && (ending.kind === "failed" || ending.kind === "cancelled")),
    );
    if (doubtful.length > 0) {
      const states = await extendLeases(
        runtime.taskQueue,
        doubtful.map((item) => item.execution),
        leaseMs,
      );
      const lost = new Set(doubtful.filter((_, index) => states[index]?.state === "lost"));
      items = items.filter((item) => !lost.has(item));
      for (const item of lost) this.#host.settled(item, "lost");
    }

    if (elsewhere !== undefined) {
      const ended = items.flatMap((item) => {
        const result = resultOf(item.execution, item.ending, redeliveryMs);
        return result === undefined ? [] : [{ item, result }];
      });
      const { maxBatch } = elsewhere.capabilities;
      for (let start = 0; start < ended.length; start += maxBatch) {
        const part = ended.slice(start, start + maxBatch);
        const stored = await elsewhere.put(part.map(({ result }) => result));
        part.forEach(({ item, result }, index) => {
          const standing = stored[index];
          // The marker of a task that keeps no result has no value; what the handler gave still goes to the dependents.
          if (standing !== undefined && !same(standing, result)) {
            item.ending = endingOf(standing, {
              output: (text) => serializer.deserialize(text),
              error: (text) => failureOf(text, standing.taskId, serializer),
            });
            item.settlement = undefined;
          }
        });
      }
    }

    for (const item of items) {
      if (item.settlement !== undefined) continue;
      const { execution, ending } = item;
      const settlement = settlementOf(execution, ending, resultsTogether);
      if (events === undefined || !runtime.eventsTogether) {
        item.settlement = settlement;
        continue;
      }
      // The task's own order: what is on its way goes first.
      if (execution.appending !== undefined) await execution.appending;
      item.settlement = { ...settlement, events: [...events.take(execution), endingEvent(runtime, item)] };
    }
    return items;
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
    if (this.#idle !== undefined && (!retryable || this.#failures >= 12)) {
      this.#idle.reject(error);
      this.#idle = undefined;
    }
  }
}

function same(
  standing: StoredResult,
  own: {
    readonly run: number;
    readonly status: string;
    readonly value?: string | undefined;
    readonly error?: string | undefined;
  },
): boolean {
  return (
    standing.run === own.run &&
    standing.status === own.status &&
    standing.value === own.value &&
    standing.error === own.error
  );
}

/** The event that tells of an ending. Terminal ones have the id that any recorder of the outcome would give them. */
export function endingEvent(runtime: Runtime, { execution, ending }: Item): NewEvent {
  const { lease } = execution;
  const task = { id: lease.taskId, name: lease.task.name, queue: lease.queue, run: lease.run, attempt: lease.attempt };
  if (ending.kind === "release") return runtime.event("released", task);
  if (ending.kind === "retry") {
    const { name, message } = ending.error;
    return runtime.event("retrying", task, { error: { name, message }, runAt: Date.now() + ending.delayMs });
  }
  const data =
    ending.kind === "failed" ? { error: { name: ending.error.name, message: ending.error.message } } : undefined;
  return { ...runtime.event(ending.kind, task, data), id: outcomeEventId(lease.taskId, lease.run, ending.kind) };
}
