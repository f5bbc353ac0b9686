// The other processes of a log, as its commits show them: who gives way to whom, and for how long.
import type { Commit } from "./commit.ts";
import { hash32 } from "./random.ts";

/** Who wrote within so many commits counts as there. */
const recentCommits = 64;
/** No turn, no rank and no loss makes anyone wait for longer. */
const longestMs = 1_000;

/** A loser reads, rests for up to a round trip, and appends. */
const loserTrips = 3;
/** 16, 32, 64, 128, 192…: rare enough to cost whoever is alone a twentieth, and often enough that nobody is kept out for longer than a second or two. */
const isBreak = (row: number): boolean => row > 0 && (row === 16 || row === 32 || row % 64 === 0);

export class Crowd {
  /** Lanes of others, with the position of their last commit, and of the last one that reserved; the latest writer last. */
  readonly #lanes = new Map<string, { wroteAt: number; reservedAt: number }>();
  #roundTripMs = 5;
  #hasWon = false;
  /** Appends of this process's own since the last commit of another. */
  #row = 0;

  /** An append took so long. */
  timed(ms: number): void {
    this.#roundTripMs += (Math.min(ms, longestMs) - this.#roundTripMs) / 8;
  }
  /** An append of this process's own came in first. */
  won(): void {
    this.#hasWon = true;
    this.#row++;
  }
  saw(commit: Commit, position: number, own: string): void {
    for (const { lane, operations } of commit.requests) {
      if (lane === undefined || lane.id === own) continue;
      this.#row = 0;
      const known = this.#lanes.get(lane.id) ?? { wroteAt: 0, reservedAt: Number.NEGATIVE_INFINITY };
      known.wroteAt = position;
      if (operations.some(({ verb }) => verb === "reserve")) known.reservedAt = position;
      this.#lanes.delete(lane.id);
      this.#lanes.set(lane.id, known);
    }
    for (const [id, { wroteAt }] of this.#lanes) {
      if (wroteAt > position - recentCommits) break;
      this.#lanes.delete(id);
    }
  }

  /** How long a loser waits: at random up to a round trip, so that losers part; where only the winner wrote lately, there is nobody to part from. */
  lostMs(): number {
    return this.#lanes.size < 2 ? 0 : Math.random() * this.#roundTripMs;
  }
  /**
   * How long a winner waits before it writes again: about a round trip for each of the others who wrote lately. A loser that has to read what
   * came first is always a round trip behind, and nobody sees it; so a long row of wins is broken now and then, for as long as a loser needs.
   */
  turnMs(position: number): number {
    if (!this.#hasWon) return 0;
    this.#hasWon = false;
    const from = position - 2 * (this.#lanes.size + 1);
    let writers = 0;
    for (const { wroteAt } of this.#lanes.values()) if (wroteAt > from) writers++;
    return Math.min(longestMs, Math.max(writers, isBreak(this.#row) ? loserTrips : 0) * this.#roundTripMs);
  }
  /**
   * How long an idle process waits before it asks for what became ready: its rank among those who reserved lately, by rendezvous hash of the
   * commit and the lane, times a round trip. All come to the same ranks, so that one asks first and the others see that it is gone.
   */
  rankMs(commitId: string, position: number, own: string): number {
    const mine = hash32(commitId + own, 0);
    let rank = 0;
    for (const [id, { reservedAt }] of this.#lanes)
      if (reservedAt > position - recentCommits && hash32(commitId + id, 0) < mine) rank++;
    return Math.min(longestMs, rank * this.#roundTripMs);
  }
}
