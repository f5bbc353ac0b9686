// What the four components share: the connections and wake-ups, and how each of them is closed.
import { OmniQError } from "@omniq/core";
import { Connection } from "./connection.ts";
import type { CheckedOptions } from "./options.ts";
import { WakeUp } from "./wake-up.ts";
import { within } from "./within.ts";

export class Store {
  readonly options: CheckedOptions;
  readonly connection: Connection;
  readonly wakeUp: WakeUp;

  constructor(options: CheckedOptions) {
    this.options = options;
    this.connection = new Connection(options);
    this.wakeUp = new WakeUp(this.connection);
    this.connection.onDead = () => this.wakeUp.doubt();
    this.connection.onMended = (tasks) => this.wakeUp.committed({ tasks });
  }

  /** Lets go of the connections once what was asked is done; they are opened again if needed, unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    await this.wakeUp.release(forEver);
    await this.connection.close(forEver);
  }
}

/** How long closing waits for calls that are under way. What they wait for may be away. */
const closeWaitMs = 800;

/** Whether a component is closed, and what tells its waiting calls so. */
export class Lifetime {
  readonly #what: string;
  readonly #ended = new AbortController();
  readonly #onClose: () => Promise<void>;
  readonly #calls = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(what: string, onClose: () => Promise<void>) {
    this.#what = what;
    this.#onClose = onClose;
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Rejects verbs of a closed component, and calls whose signal has aborted. */
  check(signal?: AbortSignal | undefined): void {
    if (this.#ended.signal.aborted)
      throw new OmniQError("OMNIQ_CLOSED", `The ${this.#what} is closed; make a new backend`);
    signal?.throwIfAborted();
  }

  /**
   * Runs a verb. An abort rejects it at once, or after `graceMs`, though what was sent may still take effect; closing waits a moment for it.
   */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>, graceMs = 0): Promise<T> {
    this.check(signal);
    const call = work();
    this.#calls.add(call);
    void call.then(
      () => this.#calls.delete(call),
      () => this.#calls.delete(call),
    );
    return signal === undefined ? call : unlessAborted(signal, call, graceMs);
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#ended.abort();
    await within(Promise.allSettled(this.#calls), closeWaitMs);
    await this.#onClose();
  }
}

function unlessAborted<T>(signal: AbortSignal, call: Promise<T>, graceMs: number): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    let timer: NodeJS.Timeout | undefined;
    const give = (): void => reject(signal.reason);
    const abort = (): void => {
      if (graceMs === 0) give();
      else timer = setTimeout(give, graceMs);
    };
    signal.addEventListener("abort", abort, { once: true });
    call.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
      clearTimeout(timer);
    });
  });
}
