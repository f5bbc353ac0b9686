// One leased task inside a worker: its lease, its deadlines, its abort signal, and the context that its handler sees.
import { setMaxListeners } from "node:events";
import type { Lease, NewEvent } from "../contracts/index.ts";
import { decodeEnvelope, type Envelope } from "../envelope.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { Enqueue, EnqueueMany, Logger, TaskContext } from "../task-definition.ts";
import type { Workable } from "./registry.ts";

const envelopes = new Map<string, Envelope>();

/** Tasks of one kind mostly share one text, so that it is read once. Shared, hence frozen where handlers see it. */
function envelopeOf(text: string): Envelope {
  const known = envelopes.get(text);
  if (known !== undefined) return known;
  const envelope = decodeEnvelope(text);
  Object.freeze(envelope.headers);
  if (text.length <= 1_024) {
    if (envelopes.size >= 256) envelopes.clear();
    envelopes.set(text, envelope);
  }
  return envelope;
}

/** What a task with an unreadable envelope has, until it is put aside. */
const unread: Envelope = {
  retry: { backoff: "fixed", delayMs: 0, factor: 1, maxDelayMs: 0, jitter: 0 },
  timeoutMs: null,
  headers: Object.freeze({}),
};

/** What a context needs from its worker. */
export interface ContextHost {
  readonly enqueue: Enqueue;
  readonly enqueueMany: EnqueueMany;
  dependencies(execution: Execution): Readonly<Record<string, unknown>>;
  log(execution: Execution): Logger;
  progress(execution: Execution, fraction: number, message: string | undefined): void;
}

/** `waiting`: prefetched, not started. `running`. `ended`: its outcome is decided and on its way. `over`: settled, or lost for certain. */
export type Phase = "waiting" | "running" | "ended" | "over";

/** The lease and the state of one task that this worker holds. */
export class Execution {
  readonly lease: Lease;
  readonly envelope: Envelope;
  /** What is stored of the task cannot be read: it must not run. */
  readonly damaged: OmniQError | undefined;
  readonly definition: Workable | undefined;
  readonly heldSince: number;
  phase: Phase = "waiting";
  /** It takes one of the worker's slots (a batch takes one for all of its tasks). */
  slot: { free: boolean } | undefined;
  startedAt = 0;
  /** Its place on the heartbeat thread's board; -1: none. */
  boardSlot = -1;
  /** By `performance.now()`. */
  timeoutAt: number = Number.POSITIVE_INFINITY;
  cancelling: boolean;
  /** Text that the next heartbeat carries. */
  progress: string | undefined;
  /** Events that are not appended yet, in order. */
  events: NewEvent[] | undefined;
  /** Appends under way that carry events of this task. */
  appending: Promise<void> | undefined;
  /** Told of an abort at once; for handlers in other threads. */
  onAbort: ((reason: OmniQError) => void) | undefined;
  #extendedAt: number;
  #extendedWall: number;
  #leaseMs: number;
  #reason: OmniQError | undefined;
  #controller: AbortController | undefined;
  #context: Context | undefined;

  /** `sentAt` in `lease` is by `performance.now()`; `wallNow` and `now` are one moment by both clocks. */
  constructor(lease: Lease, definition: Workable | undefined, leaseMs: number, now: number, wallNow: number) {
    this.lease = lease;
    this.heldSince = now;
    this.definition = definition;
    let envelope = unread;
    let damaged: OmniQError | undefined;
    try {
      envelope = envelopeOf(lease.task.envelope);
    } catch (error) {
      damaged = isOmniQError(error, "OMNIQ_ITEM_DAMAGED")
        ? error
        : new OmniQError("OMNIQ_ITEM_DAMAGED", "The stored envelope cannot be read", { cause: error });
    }
    this.envelope = envelope;
    this.damaged = damaged;
    this.cancelling = lease.cancelling;
    this.#leaseMs = leaseMs;
    this.#extendedAt = lease.sentAt;
    this.#extendedWall = wallNow - (now - lease.sentAt);
  }

  /** The own deadline, by the larger of monotonic and wall time: a machine that slept stops only one of the two. */
  overdue(now: number, wallNow: number): boolean {
    return now - this.#extendedAt >= this.#leaseMs || wallNow - this.#extendedWall >= this.#leaseMs;
  }
  /** Since when the lease stands, by `performance.now()`. */
  get extendedAt(): number {
    return this.#extendedAt;
  }
  /** The queue said that the lease is held; the call was sent at these times. */
  extended(sentAt: number, sentWall: number): void {
    // Answers of several calls may come in any order.
    if (sentAt < this.#extendedAt) return;
    this.#extendedAt = sentAt;
    this.#extendedWall = sentWall;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      // What a handler passes its signal on to is its own affair: many listeners are no leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }
  get aborted(): OmniQError | undefined {
    return this.#reason;
  }
  /** The first reason stands. */
  abort(reason: OmniQError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.onAbort?.(reason);
  }

  context(host: ContextHost): Context {
    return (this.#context ??= new Context(this, host));
  }
}

/** A task's context. What few handlers read is made when it is read. */
export class Context implements TaskContext<any> {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly attempt: number;
  readonly maxAttempts: number;
  readonly enqueuedAt: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly enqueue: Enqueue;
  readonly enqueueMany: EnqueueMany;
  readonly #execution: Execution;
  readonly #host: ContextHost;
  #dependencies: Readonly<Record<string, unknown>> | undefined;
  #log: Logger | undefined;

  constructor(execution: Execution, host: ContextHost) {
    const { task } = execution.lease;
    this.id = task.id;
    this.name = task.name;
    this.queue = task.queue;
    this.attempt = execution.lease.attempt;
    this.maxAttempts = task.maxAttempts;
    this.enqueuedAt = task.enqueuedAt;
    this.headers = execution.envelope.headers;
    this.enqueue = host.enqueue;
    this.enqueueMany = host.enqueueMany;
    this.#execution = execution;
    this.#host = host;
  }
  get dependencies(): any {
    return (this.#dependencies ??= this.#host.dependencies(this.#execution));
  }
  get signal(): AbortSignal {
    return this.#execution.signal;
  }
  get log(): Logger {
    return (this.#log ??= this.#host.log(this.#execution));
  }
  get progress(): (fraction: number, message?: string) => void {
    return (fraction, message) => {
      if (typeof fraction !== "number" || !(fraction >= 0 && fraction <= 1)) {
        throw new OmniQError("OMNIQ_INVALID_OPTION", "progress must be a number from 0 to 1");
      }
      this.#host.progress(this.#execution, fraction, message);
    };
  }
}
