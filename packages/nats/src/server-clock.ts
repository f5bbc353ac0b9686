// The server's clock, as well as this process can know it: from the time stamps of messages that come as they are stored.

const windowMs = 30_000;

/**
 * A message that is stored at `t` by the server's clock comes some time later; so `t` minus the local monotonic time of its coming is never
 * above the true offset between the two, and the largest one seen lately is the best guess. Without one, the system's clock must do.
 */
export class ServerClock {
  #current = Number.NEGATIVE_INFINITY;
  #before = Number.NEGATIVE_INFINITY;
  #windowEnd = 0;

  /** A message with this time stamp came just now. */
  observe(storedAt: number): void {
    const at = performance.now();
    if (at > this.#windowEnd) {
      // Old guesses are forgotten, as either clock may be set anew.
      this.#before = at > this.#windowEnd + windowMs ? Number.NEGATIVE_INFINITY : this.#current;
      this.#current = Number.NEGATIVE_INFINITY;
      this.#windowEnd = at + windowMs;
    }
    this.#current = Math.max(this.#current, storedAt - at);
  }

  now(): number {
    const offset = Math.max(this.#current, this.#before);
    return offset === Number.NEGATIVE_INFINITY ? Date.now() : Math.floor(performance.now() + offset);
  }
}
