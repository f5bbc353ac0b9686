// An executor that opens its log when it is first needed, so that a backend can be made without waiting for its store.
import { setMaxListeners } from "node:events";
import { OmniQError } from "@omniq/core";
import { abortable, endSoon } from "./abortable.ts";
import type { AnswerOf, Command } from "./command.ts";
import { allChanged, Listeners, type Changes, type Executor } from "./executor.ts";
import type { OrderedLog } from "./ordered-log.ts";
import { Replica } from "./replica.ts";
import type { ReplicaOptions } from "./replica-options.ts";
import { createState, type ReplicaState } from "./state.ts";

/** How long whoever only listens rests before the log is opened again. */
const followMs = 1_000;

/** Opens at the first command; a failed opening is tried again by the next one. */
export class LazyExecutor implements Executor {
  readonly #openLog: () => Promise<OrderedLog>;
  readonly #options: ReplicaOptions;
  readonly #listeners: Listeners = new Listeners();
  #opening: Promise<Replica> | undefined;
  #replica: Replica | undefined;
  #log: OrderedLog | undefined;
  #empty: ReplicaState | undefined;
  #closing: Promise<void> | undefined;
  readonly #ended: AbortController = new AbortController();

  /** The log is closed with the executor. */
  constructor(openLog: () => Promise<OrderedLog>, options: ReplicaOptions = {}) {
    this.#openLog = openLog;
    this.#options = options;
    // Every call that waits for the opening listens: many are no leak.
    setMaxListeners(0, this.#ended.signal);
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    const replica = this.#replica ?? (await abortable(this.open(), options.signal, this.#ended.signal));
    return await replica.execute(commands, options);
  }

  now(): number {
    return this.#replica?.now() ?? Date.now();
  }
  view(): ReplicaState {
    return this.#replica?.view() ?? (this.#empty ??= createState());
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Opens it where that was not done yet, and again while that fails. */
  follow(): void {
    if (this.#replica !== undefined || this.#ended.signal.aborted) return;
    this.open().catch(() => {
      setTimeout(() => this.follow(), followMs).unref();
    });
  }

  /** The replica, loaded, following its log. */
  open(): Promise<Replica> {
    if (this.#ended.signal.aborted) return Promise.reject(this.#ended.signal.reason as Error);
    return (this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    }));
  }
  async #open(): Promise<Replica> {
    const log = await this.#openLog();
    this.#log = log;
    try {
      this.#ended.signal.throwIfAborted();
      const replica = await Replica.open(log, this.#options);
      replica.subscribe((changes) => this.#listeners.notify(changes));
      this.#replica = replica;
      if (this.#ended.signal.aborted) await replica.close();
      // What happened while it was loaded stands in the state alone.
      this.#listeners.notify(allChanged);
      return replica;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  /** Idempotent. Does not wait for a store that does not answer; what was under way ends with the store's own close. */
  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      this.#ended.abort(new OmniQError("OMNIQ_CLOSED", "The backend is closed; make a new one to go on"));
      this.#listeners.clear();
      this.#opening?.catch(() => undefined);
      await this.#replica?.close();
      await endSoon(this.#log?.close());
    })());
  }
}
