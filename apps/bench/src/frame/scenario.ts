// What a scenario is: one thing to measure, run for one contestant in a process of its own on a place of its own.
import type { Contestant, OpenQueue, Place } from "./contestant.ts";
import type { Ledger } from "./ledger.ts";

/** Unit and direction are part of the measure, so that a table can be made of any. */
export interface Measured {
  readonly name: string;
  readonly value: number;
  readonly unit: "/s" | "µs" | "ms" | "bytes" | "%";
  /** Shown below the one before it, and not in the chart. */
  readonly detail?: boolean;
}

/** How much is done. */
export interface Scale {
  /** How long the same work is done before the clock starts, so that code is compiled. */
  readonly warmMs: number;
  /** What is timed lasts about this long. */
  readonly targetMs: number;
  /** At most so many tasks in what is timed. */
  readonly maxTasks: number;
  readonly backlogs: readonly number[];
  readonly million: number;
  readonly memoryTasks: number;
  readonly pickUps: number;
  /** Tasks that are picked up before the clock starts, for ten seconds at most: what runs once a task is compiled after thousands of them. */
  readonly warmPickUps: number;
}
export const fullScale: Scale = {
  warmMs: 1_000,
  targetMs: 800,
  maxTasks: 80_000,
  backlogs: [1_000, 10_000, 100_000],
  million: 1_000_000,
  memoryTasks: 100_000,
  pickUps: 100,
  warmPickUps: 10_000,
};
/** For a first look and for the tests; its numbers say nothing. */
export const quickScale: Scale = {
  warmMs: 10,
  targetMs: 40,
  maxTasks: 500,
  backlogs: [200, 500],
  million: 1_000,
  memoryTasks: 500,
  pickUps: 5,
  warmPickUps: 10,
};

/** What a run has at hand. The queue is closed, and the ledger checked, by who runs the scenario. */
export interface Run {
  readonly contestant: Contestant;
  /** The file that exports the contestant, for worker processes. */
  readonly module: string;
  readonly place: Place;
  readonly scale: Scale;
  readonly queue: OpenQueue;
  readonly ledger: Ledger;
}

export interface Scenario {
  readonly name: string;
  /** One line for `--help`. */
  readonly about: string;
  /** Not part of a run unless named. */
  readonly onDemand?: boolean;
  /** Whether the contestant can take part. */
  fits?(contestant: Contestant, queue: OpenQueue): boolean;
  /** Tasks that it leaves waiting are counted in the check. */
  run(run: Run): Promise<readonly Measured[]>;
}
