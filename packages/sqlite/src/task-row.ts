// A task as it stands in its table, and as the contract shows it.
import type { DependencyOutcome, ResultStatus, StoredTask, StoredTaskState } from "@omniq/core";
import { holds, isSound, nullable, oneOf, soundRow, text, time, whole, type Column } from "./columns.ts";
import { damagedTaskError } from "./damaged-error.ts";
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
  /** 1: it could not be read, and was set aside as a dead letter. */
  readonly damaged: number;
}

/** What OmniQ writes into the columns of a task. */
export const taskColumns: readonly Column[] = [
  whole("seq", 1, 2 ** 52),
  text("id"),
  text("queue"),
  text("name"),
  whole("state", blocked, expired),
  whole("priority", Number.MIN_SAFE_INTEGER),
  time("ready_at"),
  time("run_at"),
  time("enqueued_at"),
  nullable(time("expires_at")),
  nullable(time("expires_in")),
  nullable(time("started_at")),
  nullable(time("finished_at")),
  whole("run", 1),
  whole("attempt", 0),
  whole("expiries", 0),
  whole("max_attempts", 1),
  nullable(whole("result_ttl", 0)),
  whole("remember_ms", 0),
  whole("cancelling", 0, 1),
  whole("unrecorded", 0, 1),
  whole("slot", 0, 1),
  whole("dependents", 0, 1),
  whole("edges", 0),
  whole("pending", 0),
  nullable(text("token")),
  nullable(time("deadline")),
  nullable(text("dedup_key")),
  nullable(whole("dedup_window", 0)),
  nullable(text("group_key")),
  nullable(whole("group_limit", 1)),
  nullable(text("progress")),
  nullable(text("error")),
  text("envelope"),
  text("payload"),
  whole("damaged", 0, 1),
];

/** All but the texts, which may be large. */
const slimNames =
  "seq, id, queue, name, state, priority, ready_at, run_at, enqueued_at, expires_at, expires_in, started_at, finished_at, run, attempt, " +
  "expiries, max_attempts, result_ttl, remember_ms, cancelling, unrecorded, slot, dependents, edges, pending, token, deadline, " +
  "dedup_key, dedup_window, group_key, group_limit, error, damaged";
/** What stands in for the texts that are left out: 1 if all of them are texts. */
const textsColumn = "typeof(payload) = 'text' AND typeof(envelope) = 'text' AND typeof(progress) IN ('text', 'null')";
export const slimColumns: string = `${slimNames}, ${textsColumn} AS texts`;
export type SlimRow = Omit<TaskRow, "payload" | "envelope" | "progress"> & { readonly texts: number };

function named(names: string): readonly Column[] {
  return names.split(", ").map((name) => taskColumns.find((column) => column.name === name) as Column);
}

const slim = named(slimNames);

/** {@link isSoundSlim} as a condition of SQL: where a bounded number of rows is read and not written, bad ones must not fill it. */
export const slimSound: string = `${soundRow(slim)} AND ${textsColumn}`;

/** Whether a row holds only what OmniQ writes; one that does not is set aside. */
export function isSoundSlim(row: SlimRow): boolean {
  return row.texts === 1 && isSound(slim, row);
}

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

const claim = named(claimColumns);

export function isSoundClaim(row: readonly unknown[]): boolean {
  for (let index = 0; index < claim.length; index++) if (!holds(claim[index] as Column, row[index])) return false;
  return true;
}

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

export const resultStatuses: readonly ResultStatus[] = ["completed", "failed", "cancelled", "expired"];

const edgeColumns: readonly Column[] = [
  whole("position", 0),
  text("parent_id"),
  whole("may_fail", 0, 1),
  nullable(oneOf("status", resultStatuses)),
  nullable(whole("run", 1)),
  nullable(whole("attempt", 0)),
  nullable(time("finished_at")),
  nullable(text("error")),
  nullable(text("value")),
];

export function isSoundEdge(edge: EdgeRow): boolean {
  return isSound(edgeColumns, edge);
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
  if (!isSound(taskColumns, row)) return toDamagedTask(row);
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

/** The id that a task is set aside under when its own is lost. */
export function lostId(seq: number): string {
  return `omniq-damaged-${seq}`;
}

/** How a task that cannot be read looks before it is set aside: as it will afterwards. */
function toDamagedTask(row: TaskRow): StoredTask {
  const textOf = (value: unknown): string => (typeof value === "string" ? value : "");
  const numberOf = (name: keyof TaskRow, otherwise: number): number => {
    const column = taskColumns.find((one) => one.name === name) as Column;
    const value = row[name];
    return typeof value === "number" && holds(column, value) ? value : otherwise;
  };
  return {
    id: textOf(row.id) === "" ? lostId(row.seq) : row.id,
    name: textOf(row.name),
    queue: textOf(row.queue),
    payload: textOf(row.payload),
    envelope: textOf(row.envelope),
    priority: numberOf("priority", 0),
    maxAttempts: numberOf("max_attempts", 1),
    resultTtlMs: numberOf("result_ttl", 0),
    state: "failed",
    run: numberOf("run", 1),
    attempt: numberOf("attempt", 0),
    expiries: numberOf("expiries", 0),
    enqueuedAt: numberOf("enqueued_at", 0),
    runAt: numberOf("run_at", 0),
    cancelling: false,
    error: damagedTaskError,
  };
}
