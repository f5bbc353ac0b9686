// The workers and producers of a run, each in its place, and what can be done to them.
import type { FaultSpan } from "./history.ts";

/** Those of one run: in processes of their own, or, where the backend lives in one process, in this one. */
export interface Crew {
  /** When someone suffered a fault. */
  readonly faults: readonly FaultSpan[];
  /** When processes ended, began to end, or went on after a stop. */
  readonly ends: readonly number[];
  /** Ends that no fault explains. */
  readonly unexpected: string[];
  /** Ends one at once, as a crash does. False where the place is empty. */
  kill(place: number): boolean;
  /** Lets a worker end by itself: it gives back what it has not started. Another takes its place. */
  stop(place: number): boolean;
  /** Stops one for a while. */
  suspend(place: number, stopMs: number): boolean;
  /** How far its wall clock is off from now on, until it ends. */
  setClock(place: number, offMs: number): boolean;
  /** Whether a producer is still at work. */
  producing(): boolean;
  /** Ends all; nobody takes their places. */
  end(): Promise<void>;
}

/** How many there are of each. Places count workers first, the one for poison last of them, then producers. */
export interface CrewOptions {
  readonly config: string;
  readonly journals: string;
  readonly workers: number;
  readonly producers: number;
  readonly seed: number;
  /** When producers end, in host time. */
  readonly until: number;
  /** With it each process's clock can be set. */
  readonly clockLibrary?: string | undefined;
}
