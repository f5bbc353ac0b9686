// A crew inside this process, for a backend that lives in one: each has a client of its own on the same state.
import { join } from "node:path";
import { OmniQ, type Worker } from "@omniq/core";
import type { Crew, CrewOptions } from "./crew.ts";
import type { FaultSpan } from "./history.ts";
import { hostMs } from "./host-time.ts";
import { openJournal } from "./journal.ts";
import { produce } from "./produce.ts";
import { leaseMs, tasks } from "./tasks.ts";
import { watchLeases } from "./watch-leases.ts";

/** How many leases a worker holds that dies. */
const heldByTheDead = 8;

interface Hand {
  readonly omniq: OmniQ;
  readonly worker: Worker;
}

/**
 * What a kill and a suspension are where nothing can end one alone: leases are taken that nobody will ever settle, as by a worker that died; and
 * everything stands still, as the event loop is blocked.
 */
export class InProcessCrew implements Crew {
  readonly faults: FaultSpan[] = [];
  readonly ends: number[] = [];
  readonly unexpected: string[] = [];
  readonly #config: string;
  readonly #hands: (Hand | undefined)[] = [];
  readonly #leaving: Set<Promise<void>> = new Set<Promise<void>>();
  #producing = 0;

  private constructor(config: string) {
    this.#config = config;
  }

  /** Starts all of them. */
  static async start({ config, journals, workers, producers, seed, until }: CrewOptions): Promise<InProcessCrew> {
    openJournal(join(journals, "all.jsonl"));
    const crew = new InProcessCrew(config);
    for (let place = 0; place <= workers; place++) crew.#hands[place] = await crew.#hire();
    for (let index = 0; index < producers; index++) void crew.#produce(seed + index, until);
    return crew;
  }

  async #hire(): Promise<Hand> {
    const omniq = await OmniQ.load({ file: this.#config });
    watchLeases(omniq.components.taskQueue);
    const worker = omniq.worker({ tasks, queues: ["torture"], concurrency: 8, leaseMs });
    await worker.start();
    return { omniq, worker };
  }
  async #produce(seed: number, until: number): Promise<void> {
    this.#producing++;
    try {
      await using omniq = await OmniQ.load({ file: this.#config });
      await produce(omniq, { seed, until, poison: false });
    } catch (error) {
      this.unexpected.push(`a producer failed: ${String(error)}`);
    }
    this.#producing--;
  }

  kill(place: number): boolean {
    const hand = this.#hands[place];
    if (hand === undefined) return false;
    const request = { queues: ["torture"], limit: heldByTheDead, leaseMs, waitMs: 0, worker: "dies" };
    // A queue of its own, which notes nothing: the dead tell nobody what they were given.
    void OmniQ.load({ file: this.#config }).then(async (omniq) => {
      await omniq.components.taskQueue.reserve(request);
      await omniq.close();
    });
    return true;
  }
  stop(place: number): boolean {
    const hand = this.#hands[place];
    if (hand === undefined) return false;
    this.#hands[place] = undefined;
    this.ends.push(hostMs());
    const left = this.#leave(hand)
      .then(async () => {
        this.#hands[place] = await this.#hire();
      })
      .catch((error: unknown) => void this.unexpected.push(`a worker did not stop: ${String(error)}`))
      .finally(() => this.#leaving.delete(left));
    this.#leaving.add(left);
    return true;
  }
  suspend(_place: number, stopMs: number): boolean {
    const from = hostMs();
    while (hostMs() < from + stopMs);
    this.faults.push({ pid: process.pid, from, to: hostMs() + 1_000 });
    return true;
  }
  setClock(): boolean {
    return false;
  }
  producing(): boolean {
    return this.#producing > 0;
  }
  async end(): Promise<void> {
    await Promise.all(this.#leaving);
    await Promise.all(this.#hands.map((hand) => hand && this.#leave(hand)));
  }

  async #leave({ omniq, worker }: Hand): Promise<void> {
    await worker.stop({ graceMs: 2_000 });
    await omniq.close();
  }
}
