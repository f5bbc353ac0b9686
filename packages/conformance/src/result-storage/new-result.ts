// Results for the cases, and the reading of whole lists.
import type { NewResult, ResultFilter, ResultStorage, StoredResult } from "@omniq/core";

/** A completed result of run 1, kept for an hour. */
export function newResult(taskId: string, given: Partial<NewResult> = {}): NewResult {
  return {
    taskId,
    run: 1,
    attempt: 1,
    name: "n",
    queue: "q",
    status: "completed",
    value: `value of ${taskId}`,
    ttlMs: 3_600_000,
    ...given,
  };
}

/** All pages of a list, in order. */
export async function listAll(storage: ResultStorage, filter: ResultFilter, limit: number): Promise<StoredResult[]> {
  const items: StoredResult[] = [];
  let cursor: string | undefined;
  do {
    const page = await storage.list(filter, { limit, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}

/** Ids in code unit order, to compare as sets. */
export function ids(results: readonly StoredResult[]): string[] {
  return results.map((result) => result.taskId).sort();
}
