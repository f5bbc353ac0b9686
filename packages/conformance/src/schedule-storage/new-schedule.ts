// Schedules for the cases, and the reading of whole lists.
import type { NewSchedule, ScheduleStorage, StoredSchedule } from "@omniq/core";

/** An active schedule without a next occurrence. */
export function newSchedule(id: string, given: Partial<NewSchedule> = {}): NewSchedule {
  return { id, rule: "rule", template: "template", nextAt: null, runs: 0, paused: false, ...given };
}

/** All pages of the list, in order. */
export async function listAll(storage: ScheduleStorage, limit: number): Promise<StoredSchedule[]> {
  const items: StoredSchedule[] = [];
  let cursor: string | undefined;
  do {
    const page = await storage.list({ limit, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}

/** What was given of a stored schedule: all but the revision. */
export function given(schedule: StoredSchedule | undefined): NewSchedule | undefined {
  if (schedule === undefined) return undefined;
  const { revision: _, ...rest } = schedule;
  return rest;
}
