// The store's clock as this process knows it: the dates that it heard, and the monotonic time since.

/** The steps of HTTP dates, and what networks add; a date that is older than the estimate by more says that the store's clock was set back. */
const toleranceMs = 5_000;

/** HTTP dates have whole seconds. */
const cutOffMs = 999;

export class StoreClock {
  readonly #local: () => number;
  readonly #monotonic: () => number;
  /** The store's time minus the monotonic time. */
  #offset: number | undefined;
  #latest: number | undefined;

  constructor(local: () => number = Date.now, monotonic: () => number = () => performance.now()) {
    this.#local = local;
    this.#monotonic = monotonic;
  }

  /** The last date heard. */
  get heard(): number | undefined {
    return this.#latest;
  }

  /**
   * An answer that has just come says that its store has this time. Dates are cut off and late, so the store's time is at least that; up to
   * the second that was cut off, this machine's clock tells where in it. From the date alone, time would leap by what was cut off once a
   * later date says more, and end leases and windows too soon.
   */
  hear(date: number | undefined): void {
    if (date === undefined) return;
    this.#latest = date;
    const monotonic = this.#monotonic();
    const least = date - monotonic;
    const offset = Math.min(Math.max(least, this.#local() - monotonic), least + cutOffMs);
    if (this.#offset === undefined || least > this.#offset || offset < this.#offset - toleranceMs)
      this.#offset = offset;
  }

  /** Epoch milliseconds by the store's clock; by this machine's where the store tells none. */
  now(): number {
    return Math.floor(this.#offset === undefined ? this.#local() : this.#offset + this.#monotonic());
  }
}
