// A task as it stands in its table, and as the contract shows it.
import type { DependencyOutcome, ResultStatus, StoredTask, StoredTaskState } from "@omniq/core";
import type { Sql } from "./sql.ts";

export const blocked = 0;
export const scheduled = 1;
export const ready = 2;
/** Due, but its group is full or has a better candidate: kept out of the ready index, so that it hides no other. */
export const held = 3;
export const active = 4;
export const failed = 5;
export const cancelled = 6;
export const expired = 7;

export interface TaskRow {
  readonly seq: number;
  readonly id: string;
  readonly queue: string;
  readonly name: string;
  readonly state: number;
  readonly priority: number;
  /** Its place in the order: when it became or becomes ready. */
  readonly ready_at: number;
  readonly run_at: number;
  readonly enqueued_at: number;
  readonly expires_at: number | null;
  /** Where the expiry was given relative to `run_at`. */
  readonly expires_in: number | null;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly run: number;
  readonly attempt: number;
  readonly expiries: number;
  readonly max_attempts: number;
  readonly result_ttl: number | null;
  readonly remember_ms: number;
  readonly cancelling: number;
  readonly unrecorded: number;
  /** 1: it takes a slot of its group. */
  readonly slot: number;
  /** 1: others may wait for it. */
  readonly dependents: number;
  /** How many dependencies it was given, and how many of them are open. */
  readonly edges: number;
  readonly pending: number;
  readonly token: string | null;
  readonly deadline: number | null;
  readonly dedup_key: string | null;
  readonly dedup_window: number | null;
  readonly group_key: string | null;
  readonly group_limit: number | null;
  readonly progress: string | null;
  readonly error: string | null;
  readonly envelope: string;
  readonly payload: string;
}

/** All but the texts, which may be large. */
export const slimColumns: string =
  "seq, id, queue, name, state, priority, ready_at, run_at, enqueued_at, expires_at, expires_in, started_at, finished_at, run, attempt, " +
  "expiries, max_attempts, result_ttl, remember_ms, cancelling, unrecorded, slot, dependents, edges, pending, token, deadline, " +
  "dedup_key, dedup_window, group_key, group_limit, error";
export type SlimRow = Omit<TaskRow, "payload" | "envelope" | "progress">;

/** A lease's token: random for each batch, and the task's place in its table, so that it is found without its id. */
export function tokenOf(batch: string, seq: number): string {
  return `${batch}.${seq}`;
}

/** The place that a token names; `undefined` for what is none. */
export function seqOf(token: string): number | undefined {
  const seq = Number(token.slice(token.lastIndexOf(".") + 1));
  return Number.isSafeInteger(seq) ? seq : undefined;
}

/** What a lease is made of, as arrays: see {@link claimColumns}. */
export type ClaimRow = readonly [
  seq: number,
  id: string,
  name: string,
  priority: number,
  run: number,
  attempt: number,
  expiries: number,
  maxAttempts: number,
  resultTtl: number | null,
  enqueuedAt: number,
  runAt: number,
  startedAt: number | null,
  expiresAt: number | null,
  cancelling: number,
  slot: number,
  edges: number,
  groupKey: string | null,
  groupLimit: number | null,
  dedupKey: string | null,
  progress: string | null,
  error: string | null,
  envelope: string,
  payload: string,
];
export const claimColumns: string =
  "seq, id, name, priority, run, attempt, expiries, max_attempts, result_ttl, enqueued_at, run_at, started_at, expires_at, cancelling, " +
  "slot, edges, group_key, group_limit, dedup_key, progress, error, envelope, payload";

export interface EdgeRow {
  readonly child: number;
  readonly position: number;
  readonly parent_id: string;
  readonly may_fail: number;
  readonly status: ResultStatus | null;
  readonly run: number | null;
  readonly attempt: number | null;
  readonly finished_at: number | null;
  readonly error: string | null;
  readonly value: string | null;
}

export function edgesOf(sql: Sql, seq: number): EdgeRow[] {
  return sql.all<EdgeRow>("SELECT * FROM {p}_dependencies WHERE child = ? ORDER BY position", seq);
}

export function toOutcomes(edges: readonly EdgeRow[]): DependencyOutcome[] {
  return edges.flatMap((edge) =>
    edge.status === null
      ? []
      : [
          {
            taskId: edge.parent_id,
            run: edge.run ?? 1,
            attempt: edge.attempt ?? 0,
            status: edge.status,
            finishedAt: edge.finished_at ?? 0,
            ...(edge.value === null ? {} : { value: edge.value }),
            ...(edge.error === null ? {} : { error: edge.error }),
          },
        ],
  );
}

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

/** `edges` are those of the task, where it has any. */
export function toStoredTask(row: TaskRow, now: number, edges: readonly EdgeRow[] | undefined): StoredTask {
  // What is due counts as ready, promoted yet or not.
  const state = row.state === scheduled && row.run_at <= now ? "ready" : (stateNames[row.state] as StoredTaskState);
  return {
    id: row.id,
    name: row.name,
    queue: row.queue,
    payload: row.payload,
    envelope: row.envelope,
    priority: row.priority,
    maxAttempts: row.max_attempts,
    resultTtlMs: row.result_ttl,
    state,
    run: row.run,
    attempt: row.attempt,
    expiries: row.expiries,
    enqueuedAt: row.enqueued_at,
    runAt: row.run_at,
    ...(row.expires_at === null ? {} : { expiresAt: row.expires_at }),
    ...(row.started_at === null ? {} : { startedAt: row.started_at }),
    ...(row.finished_at === null ? {} : { finishedAt: row.finished_at }),
    cancelling: row.cancelling === 1,
    ...(row.dedup_key === null ? {} : { deduplicationKey: row.dedup_key }),
    ...(row.group_key === null ? {} : { group: { key: row.group_key, limit: row.group_limit ?? 1 } }),
    ...(edges === undefined || edges.length === 0 ? {} : { dependencies: edges.map((edge) => edge.parent_id) }),
    ...(row.progress === null ? {} : { progress: row.progress }),
    ...(row.error === null ? {} : { error: row.error }),
  };
}
