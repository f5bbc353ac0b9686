// Whether a component is closed, and what tells its waiting calls so.
import { setMaxListeners } from "node:events";
import { OmniQError } from "@omniq/core";

export class Lifetime {
  readonly #what: string;
  readonly #ended = new AbortController();
  readonly #onClose: () => Promise<void>;
  #closing: Promise<void> | undefined;

  constructor(what: string, onClose: () => Promise<void>) {
    this.#what = what;
    this.#onClose = onClose;
    // One listener for each wait under way: many are no leak.
    setMaxListeners(0, this.#ended.signal);
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Rejects verbs of a closed component, and calls whose signal has aborted. */
  check(signal?: AbortSignal | undefined): void {
    if (this.#ended.signal.aborted) throw this.closedError();
    signal?.throwIfAborted();
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The ${this.#what} is closed; make a new backend`);
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#ended.abort();
      this.#closing = this.#onClose();
    }
    return this.#closing;
  }
}
