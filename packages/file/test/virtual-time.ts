// Time, chance and ids of a run, all from its seed, so that a seed gives the same schedule every time: timers fire when the schedule says.
import crypto from "node:crypto";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers/promises";

/** Mulberry32 (public domain). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

/** Stands in for the clocks and timers of this process until it is disposed of. One at a time. */
export class VirtualTime implements Disposable {
  /** Milliseconds since the run began. */
  now = 0;
  readonly #timers = new Map<number, Timer>();
  #next = 1;
  readonly #restore: () => void;

  constructor(seed: number) {
    const random = seeded(seed);
    const own = {
      setTimeout: globalThis.setTimeout,
      clearTimeout: globalThis.clearTimeout,
      now: performance.now,
      date: Date.now,
      random: Math.random,
      uuid: crypto.randomUUID,
      sleep: timers.setTimeout,
    };
    const start = (fire: () => void, delayMs = 0): number => {
      this.#timers.set(this.#next, { at: this.now + Math.max(1, delayMs), fire });
      return this.#next++;
    };
    globalThis.setTimeout = start as never;
    globalThis.clearTimeout = ((id: number) => void this.#timers.delete(id)) as never;
    performance.now = () => this.now;
    Date.now = () => 1_700_000_000_000 + this.now;
    Math.random = random;
    let ids = 0;
    crypto.randomUUID = () => {
      const number = (ids++).toString(16).padStart(12, "0");
      const rest = Math.floor(random() * 0x1_0000_0000)
        .toString(16)
        .padStart(8, "0");
      return `${rest}-0000-4000-8000-${number}`;
    };
    timers.setTimeout = ((delayMs: number) => new Promise<void>((resolve) => void start(resolve, delayMs))) as never;
    syncBuiltinESMExports();
    this.#restore = () => {
      globalThis.setTimeout = own.setTimeout;
      globalThis.clearTimeout = own.clearTimeout;
      performance.now = own.now;
      Date.now = own.date;
      Math.random = own.random;
      crypto.randomUUID = own.uuid;
      timers.setTimeout = own.sleep;
      syncBuiltinESMExports();
    };
  }

  /** Fires the timer that is due next, whenever that is. False if there is none. */
  fireNext(): boolean {
    let next: number | undefined;
    for (const [id, { at }] of this.#timers)
      if (next === undefined || at < (this.#timers.get(next) as Timer).at) next = id;
    const timer = next === undefined ? undefined : this.#timers.get(next);
    if (next === undefined || timer === undefined) return false;
    this.#timers.delete(next);
    this.now = Math.max(this.now, timer.at);
    timer.fire();
    return true;
  }
  [Symbol.dispose](): void {
    this.#restore();
  }
}
