// Results: one for each task, the highest run wins and within a run the first.
import type { NewResult, Page, PageRequest, ResultFilter, ResultStatus, StoredResult } from "@omniq/core";
import { Heap } from "./heap.ts";
import { checkKnown, cutPage, listKey, pageLimit, readCursor } from "./page.ts";
import { SequenceList } from "./sequence-list.ts";
import type { ReplicaState } from "./state.ts";

export interface ResultRecord {
  readonly sequence: number;
  result: StoredResult;
  gone: boolean;
}
export interface ExpiringResult {
  readonly at: number;
  readonly record: ResultRecord;
}
export interface ResultState {
  nextSequence: number;
  readonly byTask: Map<string, ResultRecord>;
  readonly order: SequenceList<ResultRecord>;
  readonly expiring: Heap<ExpiringResult>;
}

export function createResultState(): ResultState {
  return {
    nextSequence: 1,
    byTask: new Map(),
    order: new SequenceList(),
    expiring: new Heap<ExpiringResult>(
      (a, b) => (a.at === b.at ? a.record.sequence < b.record.sequence : a.at < b.at),
      ({ at, record }) => !record.gone && record.result.expiresAt === at,
    ),
  };
}

const isThere = (result: StoredResult, at: number): boolean => result.expiresAt === null || result.expiresAt > at;

/** Stores a result unless one of this run or a higher one is there; answers with the one that stands. */
export function putResult(state: ReplicaState, result: NewResult, at: number): StoredResult {
  const { byTask, order, expiring } = state.results;
  let record = byTask.get(result.taskId);
  if (record !== undefined && record.result.run >= result.run && isThere(record.result, at)) return record.result;
  const finishedAt = result.finishedAt ?? at;
  const stored: StoredResult = {
    taskId: result.taskId,
    run: result.run,
    attempt: result.attempt,
    name: result.name,
    queue: result.queue,
    status: result.status,
    ...(result.value === undefined ? {} : { value: result.value }),
    ...(result.error === undefined ? {} : { error: result.error }),
    finishedAt,
    expiresAt: result.ttlMs === null ? null : finishedAt + result.ttlMs,
  };
  if (record === undefined) {
    record = { sequence: state.results.nextSequence++, result: stored, gone: false };
    byTask.set(stored.taskId, record);
    order.push(record);
  } else {
    const before = record.result.expiresAt;
    record.result = stored;
    if (before !== null && before !== stored.expiresAt) expiring.discarded();
  }
  if (stored.expiresAt !== null) expiring.push({ at: stored.expiresAt, record });
  state.journal.results.add(stored.taskId);
  return stored;
}

export function getResult(state: ReplicaState, id: string, at: number): StoredResult | undefined {
  const result = state.results.byTask.get(id)?.result;
  return result !== undefined && isThere(result, at) ? result : undefined;
}

export function deleteResults(state: ReplicaState, ids: readonly string[]): void {
  for (const id of ids) {
    const record = state.results.byTask.get(id);
    if (record !== undefined) drop(state.results, record);
  }
}

export const resultStatuses: ReadonlySet<unknown> = new Set<ResultStatus>([
  "completed",
  "failed",
  "cancelled",
  "expired",
]);

export function listResults(
  state: ReplicaState,
  filter: ResultFilter,
  page: PageRequest,
  at: number,
): Page<StoredResult> {
  const limit = pageLimit(page);
  const key = listKey("r", filter);
  const after = readCursor(key, page.cursor);
  const { queue, name, status } = filter;
  checkKnown("status of results", status === undefined ? undefined : [status], resultStatuses);
  return cutPage(
    state.results.order.after(after),
    limit,
    ({ result }) =>
      isThere(result, at) &&
      (queue === undefined || result.queue === queue) &&
      (name === undefined || result.name === name) &&
      (status === undefined || result.status === status),
    ({ result }) => result,
    ({ sequence }) => `${key}${sequence}`,
  );
}

export function sweepResults(state: ReplicaState, limit: number, at: number): number {
  let removed = 0;
  for (
    let entry = state.results.expiring.peek();
    entry !== undefined && entry.at <= at && removed < limit;
    entry = state.results.expiring.peek()
  ) {
    state.results.expiring.pop();
    drop(state.results, entry.record);
    removed++;
  }
  return removed;
}

function drop(results: ResultState, record: ResultRecord): void {
  record.gone = true;
  results.byTask.delete(record.result.taskId);
  results.order.removed();
  if (record.result.expiresAt !== null) results.expiring.discarded();
}
