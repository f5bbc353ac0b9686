// How many tasks to lease ahead of free slots: as many as would run out during one round trip, and none where handlers are long.

const weight = 0.2;
/** A prefetched task should start within about this time; else it stays in the queue, where other workers can have it. */
const patienceMs = 50;
/** What a store does in one commit costs most for the commit: calls of some hundreds are several times cheaper a task than calls of tens. */
const most = 1_000;

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
  /** Leases ahead, at most the concurrency ({@link most} where it is less). */
  get size(): number {
    if (this.#handlerMs === undefined) return 0;
    const handlerMs = Math.max(this.#handlerMs, 0.005);
    const useful = (2 * this.#concurrency * this.#roundTripMs) / handlerMs;
    const patient = (this.#concurrency * patienceMs) / handlerMs;
    return Math.floor(Math.min(useful, patient, Math.max(this.#concurrency, most)));
  }
}
