// How often an idle process looks for the next commit: often while commits come, seldom when none do, at once when the store tells.
import type { ObjectStore } from "./object-store.ts";

/** How long the pace stays fast after the last commit. */
const busyMs = 1_000;

export class Pace {
  readonly #store: ObjectStore;
  readonly #prefix: string;
  readonly #poll: { readonly busy: number; readonly idle: number };
  readonly #wakers = new Set<() => void>();
  #unwatch: (() => void) | undefined;
  #told = false;
  #closelyMs = Number.POSITIVE_INFINITY;
  #closelyUntil = 0;
  #busyUntil = 0;
  #restMs: number;
  #closed = false;

  constructor(store: ObjectStore, prefix: string, poll: { readonly busy: number; readonly idle: number }) {
    this.#store = store;
    this.#prefix = prefix;
    this.#poll = poll;
    this.#restMs = poll.busy;
  }

  /** A commit came by. */
  busy(): void {
    this.#busyUntil = performance.now() + busyMs;
    this.#restMs = this.#poll.busy;
  }

  /** For this long from now on it looks at least so often. */
  lookEvery(ms: number, forMs: number): void {
    const now = performance.now();
    const isNew = now > this.#closelyUntil || ms < this.#closelyMs;
    this.#closelyMs = ms;
    this.#closelyUntil = now + forMs;
    // A rest that was begun before is longer.
    if (isNew) for (const wake of [...this.#wakers]) wake();
  }

  /** Rests until it is time to look again, the store tells of something, or the signal aborts. */
  async rest(signal: AbortSignal): Promise<void> {
    if (this.#store.watch !== undefined && this.#unwatch === undefined && !this.#closed) {
      this.#unwatch = this.#store.watch(this.#prefix, () => {
        this.#told = true;
        for (const wake of [...this.#wakers]) wake();
      });
    }
    if (this.#told || signal.aborted) {
      this.#told = false;
      return;
    }
    if (performance.now() > this.#busyUntil) this.#restMs = Math.min(this.#poll.idle, this.#restMs * 1.3);
    // A store that tells is polled only behind that; half of it at random, so that a crowd does not look as one.
    const closely = performance.now() < this.#closelyUntil ? this.#closelyMs : Number.POSITIVE_INFINITY;
    const longest = Math.min(closely, this.#unwatch === undefined ? this.#restMs : this.#poll.idle);
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#wakers.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, longest * (0.5 + Math.random() / 2));
      this.#wakers.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
    this.#told = false;
  }

  close(): void {
    this.#closed = true;
    this.#unwatch?.();
    this.#unwatch = undefined;
    for (const wake of [...this.#wakers]) wake();
  }
}
