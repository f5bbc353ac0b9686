// Counts how often each task was done, and fails a run in which that is not exactly once.
import type { Payload } from "./contestant.ts";

export class Ledger {
  #times = new Uint8Array(4_096);
  #given = 0;
  #done = 0;
  #strange = 0;

  /** Tasks given out so far. */
  get given(): number {
    return this.#given;
  }
  /** The payloads of tasks to be added, from 1 on: some queues take 0 for none. */
  take(count: number): number[] {
    return Array.from({ length: count }, () => ++this.#given);
  }
  /** To be called with the payload of each task that is done. */
  note(given: Payload): void {
    const payload = numberOf(given);
    this.#done++;
    if (!Number.isInteger(payload) || payload < 1 || payload > this.#given) {
      this.#strange++;
      return;
    }
    if (payload >= this.#times.length) {
      const longer = new Uint8Array(Math.max(this.#times.length * 2, payload + 1));
      longer.set(this.#times);
      this.#times = longer;
    }
    this.#times[payload] = Math.min(255, (this.#times[payload] ?? 0) + 1);
  }
  /** How many of the tasks are not done. */
  get left(): number {
    return this.#given - this.#done;
  }
  /** Throws unless each task was done exactly once, or waits and was never done. */
  check(waiting = 0): void {
    let never = 0;
    let often = 0;
    for (let payload = 1; payload <= this.#given; payload++) {
      const times = this.#times[payload] ?? 0;
      if (times === 0) never++;
      else if (times > 1) often++;
    }
    const faults = [
      never === waiting ? "" : `${never} never done${waiting > 0 ? `, though ${waiting} wait` : ""}`,
      often > 0 ? `${often} done more than once` : "",
      this.#strange > 0 ? `${this.#strange} done that were never added` : "",
    ].filter((fault) => fault !== "");
    if (faults.length > 0) throw new Error(`not exactly once: of ${this.#given} tasks ${faults.join(", ")}`);
  }
  /** Throws unless the results of all tasks that are done are stored, each once. */
  async checkResults(results: AsyncIterable<unknown>): Promise<void> {
    const seen = new Set<number>();
    for await (const result of results) {
      const payload = Number(result) / 2;
      if (seen.has(payload) || this.#times[payload] !== 1)
        throw new Error(`a result of no task or a second one: ${String(result)}`);
      seen.add(payload);
    }
    if (seen.size !== this.#done) throw new Error(`${seen.size} results of ${this.#done} tasks that are done`);
  }
}

/** What every task gives. */
export const resultOf = (payload: Payload): number => numberOf(payload) * 2;
const numberOf = (payload: Payload): number => (typeof payload === "number" ? payload : Number.parseInt(payload, 10));
