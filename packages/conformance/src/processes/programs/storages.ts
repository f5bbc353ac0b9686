// Program `storages`: what another process does with results, events and schedules.
import type { NewEvent, NewResult } from "@omniq/core";
import type { Program } from "../program.ts";

export interface StoragesData {
  readonly puts?: readonly NewResult[] | undefined;
  readonly appends?: readonly (readonly NewEvent[])[] | undefined;
  /** Advances this schedule whenever it is due, until it has this many runs; answers the runs that it advanced from. */
  readonly advance?: { readonly id: string; readonly runs: number } | undefined;
}

export const storages: Program = async ({ backend, data, say }) => {
  const { puts, appends, advance } = data as StoragesData;
  await say("ready");
  const stands = puts === undefined ? [] : ((await backend.resultStorage?.().put(puts)) ?? []);
  for (const events of appends ?? []) await backend.eventStorage?.().append(events);
  const advanced: number[] = [];
  const schedules = advance === undefined ? undefined : backend.scheduleStorage?.();
  while (schedules !== undefined && advance !== undefined) {
    const [schedule] = await schedules.get([advance.id]);
    if (schedule === undefined || schedule.runs >= advance.runs) break;
    const won = await schedules.advance(schedule.id, schedule.revision, { nextAt: 1, runs: schedule.runs + 1 });
    if (won) advanced.push(schedule.runs);
  }
  return { stands, advanced };
};
