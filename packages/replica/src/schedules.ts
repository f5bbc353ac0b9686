// Schedules: stored by id, changed by compare-and-set on a revision that every write moves.
import { checkInteger } from "@omniq/core";
import type { NewSchedule, Page, PageRequest, StoredSchedule } from "@omniq/core";
import { cutPage, foreignCursor, pageLimit } from "./page.ts";
import type { ReplicaState } from "./state.ts";

export interface ScheduleState {
  revision: number;
  readonly byId: Map<string, StoredSchedule>;
  /** Ids in order; made when it is asked for after ids came or went. */
  sorted: readonly string[] | undefined;
}

export function createScheduleState(): ScheduleState {
  return { revision: 0, byId: new Map(), sorted: undefined };
}

/** The order of the UTF-8 bytes, which is that of code points. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const one = a.charCodeAt(index);
    const other = b.charCodeAt(index);
    if (one === other) continue;
    // Surrogates stand for code points above all others, although their units do not.
    const oneHigh = one >= 0xd800 && one <= 0xdfff;
    const otherHigh = other >= 0xd800 && other <= 0xdfff;
    return oneHigh === otherHigh ? one - other : oneHigh ? 1 : -1;
  }
  return a.length - b.length;
}

export function putSchedule(
  state: ReplicaState,
  schedule: NewSchedule,
  revision: string | null | undefined,
): StoredSchedule | null {
  const { byId } = state.schedules;
  const known = byId.get(schedule.id);
  if (revision !== undefined && revision !== (known?.revision ?? null)) return null;
  if (known === undefined) state.schedules.sorted = undefined;
  const { id, rule, template, nextAt, runs, paused } = schedule;
  return store(state, { id, rule, template, nextAt, runs, paused });
}

export function deleteSchedules(state: ReplicaState, ids: readonly string[]): readonly boolean[] {
  state.schedules.sorted = undefined;
  return ids.map((id) => state.schedules.byId.delete(id));
}

export function advanceSchedule(
  state: ReplicaState,
  id: string,
  revision: string,
  next: { readonly nextAt: number | null; readonly runs: number },
): boolean {
  const known = state.schedules.byId.get(id);
  if (known?.revision !== revision) return false;
  store(state, { ...known, nextAt: next.nextAt, runs: next.runs });
  return true;
}

export function listSchedules(state: ReplicaState, page: PageRequest): Page<StoredSchedule> {
  const limit = pageLimit(page);
  const { byId } = state.schedules;
  const ids = (state.schedules.sorted ??= [...byId.keys()].sort(compareBytes));
  const { cursor } = page;
  if (cursor !== undefined && !(typeof cursor === "string" && cursor.startsWith("s:"))) throw foreignCursor();
  const after = cursor?.slice(2);
  return cutPage(
    ids,
    limit,
    (id) => after === undefined || compareBytes(id, after) > 0,
    (id) => byId.get(id) as StoredSchedule,
    (id) => `s:${id}`,
  );
}

export function dueSchedules(
  state: ReplicaState,
  limit: number,
  at: number,
): { readonly now: number; readonly schedules: readonly StoredSchedule[] } {
  checkInteger("The limit of due schedules", limit, 0);
  const due = [...state.schedules.byId.values()].filter(
    ({ paused, nextAt }) => !paused && nextAt !== null && nextAt <= at,
  );
  due.sort((a, b) => (a.nextAt as number) - (b.nextAt as number) || compareBytes(a.id, b.id));
  return { now: at, schedules: due.slice(0, limit) };
}

function store(state: ReplicaState, schedule: NewSchedule): StoredSchedule {
  const stored: StoredSchedule = { ...schedule, revision: String(++state.schedules.revision) };
  state.schedules.byId.set(stored.id, stored);
  return stored;
}
