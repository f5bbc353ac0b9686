// A task as its row is read, and as the contract shows it.
import type { DependencyOutcome, Lease, ResultStatus, StoredTask, StoredTaskState } from "@omniq/core";
import type { Row } from "./connection.ts";
import { edgesOfTask } from "./claim-statements.ts";
import { damagedText, isStatus, isTime, isWhole } from "./damage.ts";

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
  // Set aside: see tables.ts.
  "failed",
];

/** Whether a row of `leases` covers the task `t`; the set is made once for a statement, when the first row needs it. */
export const covered =
  "(t.state = 2 AND t.lane = 0 AND NOT t.apart AND (t.seq IN (SELECT u FROM {s}.leases l, unnest(l.seqs) u)) IS TRUE)";
/** The lease that covers the task `t`, as `l`. */
export const coveringLease = `LEFT JOIN LATERAL (SELECT l.leased_at FROM {s}.leases l WHERE t.state = 2 AND t.lane = 0 AND NOT t.apart
    AND l.queue = t.queue AND t.seq BETWEEN l.first_seq AND l.last_seq AND t.seq = ANY (l.seqs) LIMIT 1) l ON true`;

/** The columns of {@link toStoredTask}, from a table `t` with its {@link coveringLease}. */
export const taskColumns: string = `t.id, t.name, t.queue, t.payload, t.envelope, t.priority, t.max_attempts, t.result_ttl, t.run,
  CASE WHEN l.leased_at IS NULL THEN t.attempt ELSE t.attempt + 1 END, t.expiries, t.enqueued_at, t.run_at, t.expires_at,
  coalesce(t.started_at, l.leased_at), t.cancelling, t.dedup_key, t.group_key, t.group_limit, t.progress, t.error,
  CASE WHEN l.leased_at IS NOT NULL THEN ${activeState} WHEN t.state = ${scheduled} AND t.run_at <= n.now THEN 2 ELSE t.state END,
  t.finished_at, t.seq, ${edgesOfTask}`;
export const seqColumn = 23;
const edgesColumn = 24;

interface Edge {
  readonly taskId: string;
  readonly status: ResultStatus | string | null;
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
            finishedAt: edge.finishedAt ?? 0,
            ...(isStatus(edge.status)
              ? {
                  status: edge.status,
                  ...(edge.value === null ? {} : { value: edge.value }),
                  ...(edge.error === null ? {} : { error: edge.error }),
                }
              : { status: "failed" as const, error: damagedText("this outcome") }),
          },
        ],
  );
}

/** Numbers of a task's row that are always there. */
const numbers = [5, 6, 8, 9, 10, 11, 12];

/** What cannot be read is shown as the dead letter that it will be. */
export function toStoredTask(row: Row): StoredTask {
  const state = stateNames[row[21] as number];
  if (state === undefined || numbers.some((column) => !Number.isSafeInteger(row[column]))) return toDamagedTask(row);
  const expiresAt = row[13] as number | null;
  const startedAt = row[14] as number | null;
  const finishedAt = row[22] as number | null;
  const edges = readEdges(row[edgesColumn]);
  const task: Shown = {
    id: row[0],
    name: row[1],
    queue: row[2],
    payload: row[3],
    envelope: row[4],
    priority: row[5],
    maxAttempts: row[6],
    resultTtlMs: row[7],
    state,
    run: row[8],
    attempt: row[9],
    expiries: row[10],
    enqueuedAt: row[11],
    runAt: row[12],
    cancelling: row[15],
  };
  if (expiresAt !== null) task.expiresAt = expiresAt;
  if (startedAt !== null) task.startedAt = startedAt;
  if (finishedAt !== null) task.finishedAt = finishedAt;
  addRare(task, row, 0, edges);
  return task;
}

function toDamagedTask(row: Row): StoredTask {
  const whole = (column: number, least: number): number => (isWhole(row[column], least) ? row[column] : least);
  return {
    id: row[0],
    name: row[1],
    queue: row[2],
    payload: "",
    envelope: "",
    priority: 0,
    maxAttempts: 1,
    resultTtlMs: 0,
    state: "failed",
    run: whole(8, 1),
    attempt: whole(9, 0),
    expiries: whole(10, 0),
    enqueuedAt: whole(11, 0),
    runAt: whole(12, 0),
    cancelling: false,
    error: damagedText("this task"),
  };
}

type Shown = { -readonly [K in keyof StoredTask]: StoredTask[K] };

/** What few tasks have. `from`: where the columns begin. */
function addRare(task: Shown, row: Row, from: number, edges: readonly Edge[]): void {
  const key = row[from + 16] as string | null;
  const group = row[from + 17] as string | null;
  const progress = row[from + 19] as string | null;
  const error = row[from + 20] as string | null;
  if (key !== null) task.deduplicationKey = key;
  if (group !== null) task.group = { key: group, limit: (row[from + 18] as number | null) ?? 1 };
  if (edges.length > 0) task.dependencies = edges.map((edge) => edge.taskId);
  if (progress !== null) task.progress = progress;
  if (error !== null) task.error = error;
}

/** What follows the task's columns in the type `lease`. */
const runAt = 13;
const lane = 22;
const readyAt = 23;
const seq = 24;
const deadline = 25;
const edgesOfLease = 26;
const place = 27;
const many = 28;

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
  const start = token.indexOf(placeMark) + 1;
  if (start === 0) return undefined;
  const text = token.endsWith(keyMark) ? token.slice(start, -keyMark.length) : token.slice(start);
  return /^\(\d{1,10},\d{1,5}\)$/.test(text) ? text : undefined;
}
export function mayHaveKey(token: string): boolean {
  return token.endsWith(keyMark);
}

const none: readonly DependencyOutcome[] = Object.freeze([]);

/** A row of the type `lease`, in which null stands for what is usual. */
function toLease(row: Row, queue: string, claim: ClaimToken, sentAt: number): Lease {
  const edges = readEdges(row[edgesOfLease]);
  const until = row[deadline] as number;
  const expiresAt = row[14] as number | null;
  const task: Shown = {
    id: row[1],
    name: row[2],
    queue,
    payload: row[4],
    envelope: row[5],
    priority: (row[6] as number | null) ?? 0,
    maxAttempts: row[7],
    resultTtlMs: row[8],
    state: "active",
    run: (row[9] as number | null) ?? 1,
    attempt: (row[10] as number | null) ?? 1,
    expiries: (row[11] as number | null) ?? 0,
    enqueuedAt: (row[12] as number | null) ?? (row[13] as number),
    runAt: row[13],
    cancelling: row[16] === true,
    startedAt: (row[15] as number | null) ?? until - claim.leaseMs,
  };
  if (expiresAt !== null) task.expiresAt = expiresAt;
  addRare(task, row, 1, edges);
  const marked = `${claim.token}${placeMark}${row[place]}`;
  return {
    taskId: task.id,
    queue,
    token: task.deduplicationKey === undefined ? marked : marked + keyMark,
    run: task.run,
    attempt: task.attempt,
    task,
    deadline: until,
    sentAt,
    cancelling: task.cancelling,
    dependencies: toOutcomes(edges),
  };
}

/** What is known of a lease beside itself: its place among those of its claim. */
export interface Placed {
  readonly lease: Lease;
  /** The position of its queue in the request. */
  readonly position: number;
  readonly readyAt: number;
  readonly seq: number;
  /** Whether it stands in lane 0. */
  readonly usual: boolean;
}

export interface ClaimToken {
  readonly token: string;
  readonly leaseMs: number;
}

/** Whether a lease can be worked on; what cannot is set aside. */
export function isSound({ lease: { task }, readyAt, seq: place }: Placed): boolean {
  return (
    task.name !== "" &&
    isTime(readyAt) &&
    isWhole(place) &&
    isWhole(task.run, 1) &&
    isWhole(task.attempt, 1) &&
    isWhole(task.expiries) &&
    isWhole(task.maxAttempts, 1) &&
    Number.isSafeInteger(task.enqueuedAt)
  );
}

/** The leases of a row that `reserve` gave: one, or many plain ones in one text. */
export function toPlaced(row: Row, queue: string, claim: ClaimToken, sentAt: number): readonly Placed[] {
  const text = row[many] as string | null;
  if (text !== null) return readMany(text, row, queue, claim, sentAt);
  return [
    {
      lease: toLease(row, queue, claim, sentAt),
      position: row[0],
      readyAt: (row[readyAt] as number | null) ?? (row[runAt] as number),
      seq: row[seq],
      usual: row[lane] === null,
    },
  ];
}

/** See `many` in claim-statements.ts, which makes this text. */
function readMany(text: string, row: Row, queue: string, claim: ClaimToken, sentAt: number): readonly Placed[] {
  const end = claim.token.slice(-8);
  const cut = `\x1f${end}`;
  const columns = text.split(`\x1e${end}`) as [string, string, string, string, ...string[]];
  const [ids, payloads, places, seqs] = [
    columns[0].split(cut),
    columns[1].split(cut),
    columns[2].split(cut),
    columns[3].split(","),
  ];
  const texts = (column: number): ((index: number) => string) => {
    const list = (columns[column] as string).split(cut);
    return list.length === 1 ? () => list[0] as string : (index) => list[index] as string;
  };
  const numbers = (column: number): ((index: number) => number) => {
    const list = (columns[column] as string).split(",").map(Number);
    return list.length === 1 ? () => list[0] as number : (index) => list[index] as number;
  };
  const [names, envelopes] = [texts(4), texts(5)];
  const [limits, lifetimes, runs, enqueued, ready] = [numbers(6), numbers(7), numbers(8), numbers(9), numbers(10)];
  const until = row[deadline] as number;
  return ids.map((id, index) => {
    const resultTtlMs = lifetimes(index);
    const task: StoredTask = {
      id,
      name: names(index),
      queue,
      payload: payloads[index] as string,
      envelope: envelopes(index),
      priority: 0,
      maxAttempts: limits(index),
      resultTtlMs: resultTtlMs < 0 ? null : resultTtlMs,
      state: "active",
      run: 1,
      attempt: 1,
      expiries: 0,
      enqueuedAt: enqueued(index),
      runAt: runs(index),
      cancelling: false,
      startedAt: until - claim.leaseMs,
    };
    const lease: Lease = {
      taskId: id,
      queue,
      token: `${claim.token}${placeMark}${places[index]}`,
      run: 1,
      attempt: 1,
      task,
      deadline: until,
      sentAt,
      cancelling: false,
      dependencies: none,
    };
    return { lease, position: row[0], readyAt: ready(index), seq: Number(seqs[index]), usual: true };
  });
}

/** In the order of the contract; a statement's own order is not promised. */
export function byOrder(one: Placed, other: Placed): number {
  return (
    one.position - other.position ||
    other.lease.task.priority - one.lease.task.priority ||
    one.readyAt - other.readyAt ||
    one.seq - other.seq
  );
}

export function deadlineOf(row: Row): number {
  return row[deadline] as number;
}
