// Rule 3 of the commit log: what an answer about `log/n` may be trusted for, given that deleted names can be created and missed again.
import type { ListAnswer } from "./object-store.ts";
import { checkpointPrefix, positionOf } from "./names.ts";

/** Below this grace, dates of whole seconds say too little. */
const shortGraceMs = 10_000;

/** A list of `checkpoint/`, as the log reads it. */
export interface Checkpoints {
  /** Positions, newest first. */
  readonly positions: readonly number[];
  /** Names at or below it may be gone; a name above it had never been deleted when the list was sent. The second-newest position, or 0. */
  readonly floor: number;
  readonly date: number | undefined;
}

export function readCheckpoints({ objects, date }: ListAnswer): Checkpoints {
  const positions = objects.flatMap(({ key }) => positionOf(checkpointPrefix, key) ?? []).sort((a, b) => b - a);
  return { positions, floor: positions[1] ?? 0, date };
}

/**
 * Keeps `proof`: a store time before which the name `from`, and so every later one, can't have been deletable. It comes from the store only,
 * never from a local clock and never from what commits say of themselves.
 */
export class Trust {
  readonly #graceMs: number;
  readonly #list: () => Promise<ListAnswer>;
  #proof: { readonly from: number; readonly time: number } | undefined;

  /** `list` lists `checkpoint/`. */
  constructor(graceMs: number, list: () => Promise<ListAnswer>) {
    this.#graceMs = graceMs;
    this.#list = list;
  }

  /** At this time the name at `from` was not deletable yet: no one had written the commit before it, or a list passed. */
  prove(from: number, time: number | undefined): void {
    if (time !== undefined && (this.#proof === undefined || time > this.#proof.time)) this.#proof = { from, time };
  }
  /** Opening begins again, behind a checkpoint and with the date of the list that named it. */
  restart(from: number, time: number | undefined): void {
    this.#proof = time === undefined ? undefined : { from, time };
  }

  /** True if an answer of this date about the name at `position` is young enough to be trusted without a list. */
  isYoung(position: number, date: number | undefined): boolean {
    if (date === undefined || this.#proof === undefined || this.#graceMs < shortGraceMs) return false;
    return position >= this.#proof.from && date - this.#proof.time <= this.#graceMs / 2;
  }

  /** Lists, after the answer in question came: true if the name at `position` had never been deleted. A list that passes is a proof. */
  async passesList(position: number): Promise<boolean> {
    const { floor, date } = readCheckpoints(await this.#list());
    if (position <= floor) return false;
    this.prove(position, date);
    return true;
  }
}
