// What a run of the bench leaves behind, in a form that tables, charts and later runs can be made of.
import type { Measured } from "../frame/scenario.ts";

export interface ContestantFacts {
  readonly name: string;
  readonly ours: boolean;
  readonly rival: string;
  readonly versions: string;
  readonly settings: string;
  readonly durability: string;
  readonly results: string;
}
export interface MeasureRow extends Omit<Measured, "value"> {
  /** By contestant, one value for each round. */
  readonly values: Record<string, number[]>;
}
export interface ScenarioResults {
  readonly takenOn: string;
  readonly rounds: number;
  /** Tasks over all runs, each found done exactly once or waiting. */
  tasks: number;
  readonly rows: MeasureRow[];
  readonly failures: { readonly contestant: string; readonly error: string }[];
}
export interface BackendResults {
  readonly server: string;
  readonly durability: string;
  readonly machine: string;
  readonly contestants: readonly ContestantFacts[];
  readonly scenarios: Record<string, ScenarioResults>;
}

/** Notes the measures of one run. */
export function noteMeasures(into: ScenarioResults, contestant: string, measures: readonly Measured[]): void {
  for (const { value, ...measure } of measures) {
    let row = into.rows.find(({ name }) => name === measure.name);
    if (row === undefined) into.rows.push((row = { ...measure, values: {} }));
    (row.values[contestant] ??= []).push(value);
  }
}

/** Higher is better for rates only. */
export const moreIsBetter = (row: Pick<MeasureRow, "unit">): boolean => row.unit === "/s";

/** How many times as good ours is as theirs. */
export function ratio(row: MeasureRow, ours: number, theirs: number): number {
  return moreIsBetter(row) ? ours / theirs : theirs / ours;
}
