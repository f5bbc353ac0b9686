// How many tasks to lease ahead of free slots: as many as would run out during one round trip, and none where handlers are long.

const weight = 0.2;
/** A prefetched task should start within about this time; else it stays in the queue, where other workers can have it. */
const patienceMs = 50;
/** Short handlers are fed in batches of this size or more, since most of what a backend's transaction costs does not grow with its tasks. */
const enough = 256;

/** Moving averages of how long handlers and round trips take. */
export class Prefetch {
  readonly #concurrency: number;
  #handlerMs: number | undefined;
  #roundTripMs = 1;
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }
  handlerTook(ms: number): void {
    this.#handlerMs = this.#handlerMs === undefined ? ms : this.#handlerMs + weight * (ms - this.#handlerMs);
  }
  roundTripTook(ms: number): void {
    this.#roundTripMs += weight * (ms - this.#roundTripMs);
  }
  /** Leases ahead: never more than four times the concurrency, or {@link enough} where that is more. */
  get size(): number {
    if (this.#handlerMs === undefined) return 0;
    const handlerMs = Math.max(this.#handlerMs, 0.005);
    const useful = (2 * this.#concurrency * this.#roundTripMs) / handlerMs;
    const patient = (this.#concurrency * patienceMs) / handlerMs;
    return Math.floor(Math.min(useful, patient, Math.max(4 * this.#concurrency, enough)));
  }
}
