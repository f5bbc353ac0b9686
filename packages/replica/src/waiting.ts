// How components wait: for a change, a time, an abort or the end of the component, whichever comes first.
import { setMaxListeners } from "node:events";
import { OmniQError } from "@omniq/core";

/** What a component does with its waits and its own end. */
export class Lifetime {
  readonly #what: string;
  readonly #ended: AbortController = new AbortController();

  constructor(what: string) {
    this.#what = what;
    // One listener for each wait under way: many are no leak.
    setMaxListeners(0, this.#ended.signal);
  }
  get closed(): boolean {
    return this.#ended.signal.aborted;
  }
  /** Rejects everything from now on. Idempotent. */
  end(): void {
    if (!this.closed)
      this.#ended.abort(new OmniQError("OMNIQ_CLOSED", `The ${this.#what} is closed; make a new one to go on`));
  }
  /** Throws when the component is closed or the call aborted. */
  check(signal?: AbortSignal): void {
    this.#ended.signal.throwIfAborted();
    signal?.throwIfAborted();
  }
  /** Calls `stop` with the reason, once, when the component closes or the signal aborts. Answers with a function that ends that. */
  onEnd(signal: AbortSignal | undefined, stop: (reason: unknown) => void): () => void {
    const ended = this.#ended.signal;
    const closing = (): void => stop(ended.reason);
    const aborting = (): void => stop(signal?.reason);
    ended.addEventListener("abort", closing, { once: true });
    signal?.addEventListener("abort", aborting, { once: true });
    return () => {
      ended.removeEventListener("abort", closing);
      signal?.removeEventListener("abort", aborting);
    };
  }
}

// The longest time that a timer takes; beyond, Node fires at once.
const longestTimerMs = 2_147_483_647;
/** A timer that takes any time: one that is too long fires early, so what it calls looks again. */
export function startTimer(delayMs: number, fire: () => void): NodeJS.Timeout {
  return setTimeout(fire, Math.min(Math.max(0, Math.ceil(delayMs)), longestTimerMs));
}
export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, delayMs));
}
