// How many tasks to lease ahead of free slots: as many as would run out during one round trip, and none where handlers are long.

const weight = 0.2;
/** A prefetched task should start within about this time, or a round trip; else it stays in the queue, where other workers can have it. */
const patienceMs = 50;
const standstillMs = 200;
const proofs = 10;
/** What a store does in one commit costs most for the commit: calls of some hundreds are several times cheaper a task than calls of tens. */
const most = 1_000;
/** Where each commit takes long, it must carry more: so many a millisecond are thousands a second, with half of them under way at a time. */
const mostPerMs = 10;
/** Two calls of the largest size that stores take. */
const mostEver = 2_000;

/** Moving averages of how long handlers and round trips take. */
export class Prefetch {
  readonly #concurrency: number;
  #handlerMs: number | undefined;
  #roundTripMs: number | undefined;
  /** So many handlers must end quickly before anything is leased ahead again. */
  #toProve = 0;
  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }
  handlerTook(ms: number): void {
    if (this.#toProve > 0) this.#toProve = ms < patienceMs ? this.#toProve - 1 : Math.min(this.#concurrency, proofs);
    this.#handlerMs = this.#handlerMs === undefined ? ms : this.#handlerMs + weight * (ms - this.#handlerMs);
  }
  roundTripTook(ms: number): void {
    this.#roundTripMs = this.#roundTripMs === undefined ? ms : this.#roundTripMs + weight * (ms - this.#roundTripMs);
  }
  /** How long no slot may come free before what waits is given back: tasks that another worker could run must not wait for long handlers. */
  get standstillMs(): number {
    return Math.max(standstillMs, this.#roundTripMs ?? 0);
  }
  /** What was leased ahead had to be given back: nothing more is, until handlers prove quick. */
  stall(): void {
    this.#toProve = Math.min(this.#concurrency, proofs);
  }
  get stalled(): boolean {
    return this.#toProve > 0;
  }
  /** Leases ahead; at most the concurrency, where that is more than {@link most}, or more where round trips are long. */
  get size(): number {
    if (this.#handlerMs === undefined || this.#toProve > 0) return 0;
    const handlerMs = Math.max(this.#handlerMs, 0.005);
    const roundTripMs = this.#roundTripMs ?? 1;
    const useful = (2 * this.#concurrency * roundTripMs) / handlerMs;
    const patient = (this.#concurrency * Math.max(patienceMs, roundTripMs)) / handlerMs;
    const far = Math.min(mostPerMs * roundTripMs, mostEver);
    return Math.floor(Math.min(useful, patient, Math.max(this.#concurrency, most, far)));
  }
}
