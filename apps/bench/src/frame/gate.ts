// A worker that is let through a number of tasks at a time: what runs between opening and closing is measured without its start and stop, and
// with as much in flight at the one end as at the other.
import type { Handle, Payload } from "./contestant.ts";
import { within } from "./deadline.ts";
import { resultOf, type Ledger } from "./ledger.ts";

export class Gate {
  readonly #ledger: Ledger;
  #left = 0;
  #opened: Promise<void>;
  #open!: () => void;
  #reached: () => void = () => {};

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    this.#opened = new Promise((resolve) => (this.#open = resolve));
  }
  /** The handler to work with; it waits while the gate is closed. */
  readonly handle: Handle = (payload) => (this.#left > 0 ? this.#pass(payload) : this.#waitFor(payload));

  /** Opens, and resolves when so many tasks went through, as the gate closes. */
  async let(count: number): Promise<void> {
    const reached = new Promise<void>((resolve) => (this.#reached = resolve));
    this.#left = count;
    this.#open();
    await within(`${count} tasks to be done`, reached, () => `${count - this.#left} were`);
  }
  /** Opens for good. */
  release(): void {
    this.#left = Number.POSITIVE_INFINITY;
    this.#open();
  }

  async #waitFor(payload: Payload): Promise<number> {
    while (this.#left === 0) await this.#opened;
    return this.#pass(payload);
  }
  #pass(payload: Payload): number {
    this.#ledger.note(payload);
    this.#left--;
    if (this.#left === 0) {
      this.#opened = new Promise((resolve) => (this.#open = resolve));
      this.#reached();
    }
    return resultOf(payload);
  }
}
