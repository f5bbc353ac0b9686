// A task as its row is read, and as the contract shows it.
import type { DependencyOutcome, Lease, ResultStatus, StoredTask, StoredTaskState } from "@omniq/core";
import type { Row } from "./connection.ts";
import { edgesOfTask } from "./reserve-functions.ts";

export const scheduled = 1;
const activeState = 4;

const stateNames: readonly StoredTaskState[] = [
  "blocked",
  "scheduled",
  "ready",
  "ready",
  "active",
  "failed",
  "cancelled",
  "expired",
];

/** The columns of {@link toStoredTask}, from a table `t`; the first twenty-one are those of the type `lease` after `position`. */
export const taskColumns: string = `t.id, t.name, t.queue, t.payload, t.envelope, t.priority, t.max_attempts, t.result_ttl, t.run, t.attempt,
  t.expiries, t.enqueued_at, t.run_at, t.expires_at, t.started_at, t.cancelling, t.dedup_key, t.group_key, t.group_limit, t.progress,
  t.error, CASE WHEN t.state = ${scheduled} AND t.run_at <= n.now THEN 2 ELSE t.state END, t.finished_at, t.seq, ${edgesOfTask}`;
export const seqColumn = 23;
const edgesColumn = 24;

interface Edge {
  readonly taskId: string;
  readonly status: ResultStatus | null;
  readonly run: number | null;
  readonly attempt: number | null;
  readonly finishedAt: number | null;
  readonly value: string | null;
  readonly error: string | null;
}

function readEdges(text: unknown): readonly Edge[] {
  return typeof text === "string" ? (JSON.parse(text) as Edge[]) : [];
}

function toOutcomes(edges: readonly Edge[]): DependencyOutcome[] {
  return edges.flatMap((edge) =>
    edge.status === null
      ? []
      : [
          {
            taskId: edge.taskId,
            run: edge.run ?? 1,
            attempt: edge.attempt ?? 0,
            status: edge.status,
            finishedAt: edge.finishedAt ?? 0,
            ...(edge.value === null ? {} : { value: edge.value }),
            ...(edge.error === null ? {} : { error: edge.error }),
          },
        ],
  );
}

export function toStoredTask(row: Row): StoredTask {
  return show(
    row,
    0,
    stateNames[row[21] as number] as StoredTaskState,
    row[22] as number | null,
    readEdges(row[edgesColumn]),
  );
}

/** `from`: where the columns begin. */
function show(
  row: Row,
  from: number,
  state: StoredTaskState,
  finishedAt: number | null,
  edges: readonly Edge[],
): StoredTask {
  const expiresAt = row[from + 13] as number | null;
  const startedAt = row[from + 14] as number | null;
  const key = row[from + 16] as string | null;
  const group = row[from + 17] as string | null;
  const progress = row[from + 19] as string | null;
  const error = row[from + 20] as string | null;
  const task: { -readonly [K in keyof StoredTask]: StoredTask[K] } = {
    id: row[from],
    name: row[from + 1],
    queue: row[from + 2],
    payload: row[from + 3],
    envelope: row[from + 4],
    priority: row[from + 5],
    maxAttempts: row[from + 6],
    resultTtlMs: row[from + 7],
    state,
    run: row[from + 8],
    attempt: row[from + 9],
    expiries: row[from + 10],
    enqueuedAt: row[from + 11],
    runAt: row[from + 12],
    cancelling: row[from + 15],
  };
  if (expiresAt !== null) task.expiresAt = expiresAt;
  if (startedAt !== null) task.startedAt = startedAt;
  if (finishedAt !== null) task.finishedAt = finishedAt;
  if (key !== null) task.deduplicationKey = key;
  if (group !== null) task.group = { key: group, limit: (row[from + 18] as number | null) ?? 1 };
  if (edges.length > 0) task.dependencies = edges.map((edge) => edge.taskId);
  if (progress !== null) task.progress = progress;
  if (error !== null) task.error = error;
  return task;
}

/** What follows the task's columns in the type `lease`. */
const lane = 22;
const readyAt = 23;
const seq = 24;
const deadline = 25;
const edgesOfLease = 26;
const place = 27;

/** Marks the token of a task with a deduplication key, so that settling it locks the key first. */
const keyMark = ".k";
/** Stands before the place of the row in its table, where settling looks first: it saves the search by id. */
const placeMark = "~";
export function storedToken(token: string): string {
  const end = token.indexOf(placeMark);
  return end < 0 ? token : token.slice(0, end);
}
/** The row's place as it was when it was leased; `undefined` for what no lease of ours looks like. */
export function placeOf(token: string): string | undefined {
  return /~(\(\d{1,10},\d{1,5}\))/.exec(token)?.[1];
}
export function mayHaveKey(token: string): boolean {
  return token.endsWith(keyMark);
}

/** A row of the type `lease`. */
export function toLease(row: Row, token: string, sentAt: number): Lease {
  const edges = readEdges(row[edgesOfLease]);
  const marked = `${token}${placeMark}${row[place]}`;
  const task = show(row, 1, stateNames[activeState] as StoredTaskState, null, edges);
  return {
    taskId: task.id,
    queue: task.queue,
    token: task.deduplicationKey === undefined ? marked : marked + keyMark,
    run: task.run,
    attempt: task.attempt,
    task,
    deadline: row[deadline],
    sentAt,
    cancelling: task.cancelling,
    dependencies: toOutcomes(edges),
  };
}

/** In the order of the contract; a statement's own order is not promised. */
export function byOrder(one: Row, other: Row): number {
  return (
    (one[0] as number) - (other[0] as number) ||
    (other[6] as number) - (one[6] as number) ||
    (one[readyAt] as number) - (other[readyAt] as number) ||
    (one[seq] as number) - (other[seq] as number)
  );
}

/** Where lane 0 of a queue begins now: the place of the last task of it that was claimed. */
export function placeInLane(row: Row): { readonly readyAt: number; readonly seq: number } | undefined {
  return row[lane] === 0 ? { readyAt: row[readyAt], seq: row[seq] } : undefined;
}
export function deadlineOf(row: Row): number {
  return row[deadline] as number;
}
