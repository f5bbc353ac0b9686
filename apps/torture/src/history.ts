// What is known of a run when it is over: the journals, the faults, and how the store's clock was set.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Line, Noted, Of } from "./journal.ts";

/** Stands for all processes. */
export const everyone = 0;

/** A fault that a process suffered; what it did meanwhile proves nothing against the queue. Host time. */
export interface FaultSpan {
  /** The process, or {@link everyone} when a server was away. */
  readonly pid: number;
  readonly from: number;
  readonly to: number;
}
/** The store's clock was set, at this host time, forward or backward by so much. */
export interface ClockStep {
  readonly at: number;
  readonly ms: number;
}
/** What the checks need to know beside the journals. */
export interface Circumstances {
  readonly faults: readonly FaultSpan[];
  /**
   * When processes or connections ended, in part or whole. A reserve that ends with them may hold tasks for a moment that nobody is given: the
   * server takes the claim back, or the process gives back what came too late.
   */
  readonly ends: readonly number[];
  /** Steps of the clock by which the store decides what is due; those of workers and producers alone change nothing. */
  readonly storeSteps: readonly ClockStep[];
  /** How far two views of the store's clock may differ: HTTP dates have whole seconds. */
  readonly toleranceMs: number;
}

/** How long a claim may last that nobody waits for any more. */
const lingeringMs = 2_000;
/** How long after a step processes may still differ, beside the step itself: a clock that never runs backward stands until it is caught up with. */
const settlingMs = 1_000;

export class History implements Circumstances {
  readonly lines: readonly Noted[];
  readonly faults: readonly FaultSpan[];
  readonly ends: readonly number[];
  readonly storeSteps: readonly ClockStep[];
  readonly toleranceMs: number;

  constructor(lines: readonly Noted[], { faults, ends, storeSteps, toleranceMs }: Circumstances) {
    this.lines = lines;
    this.faults = faults;
    this.ends = ends;
    this.storeSteps = storeSteps;
    this.toleranceMs = toleranceMs;
  }

  of<Kind extends Line["kind"]>(kind: Kind): readonly Of<Kind>[] {
    return this.lines.filter((line): line is Of<Kind> => line.kind === kind);
  }

  /** Whether the store's clock did not simply go on between two moments. */
  disturbed(from: number, to: number): boolean {
    return this.storeSteps.some(({ at, ms }) => at - settlingMs <= to && at + Math.abs(ms) + settlingMs >= from);
  }

  /** Whether a process, or the way to its server, suffered a fault in this time. */
  suffered(pid: number, from: number, to: number): boolean {
    return this.faults.some(
      (fault) => (fault.pid === pid || fault.pid === everyone) && fault.from <= to && fault.to >= from,
    );
  }

  /** Whether a claim of someone who ended may have held tasks in this time. */
  interrupted(from: number, to: number): boolean {
    return this.ends.some((at) => at + lingeringMs >= from && at <= to);
  }
}

/** All lines that are whole: the last one of a killed process may be torn. */
export function readJournals(folder: string): readonly Noted[] {
  return readdirSync(folder).flatMap((name) =>
    readFileSync(join(folder, name), "utf8")
      .split("\n")
      .filter((text) => text.endsWith("}"))
      .map((text) => JSON.parse(text) as Noted),
  );
}
