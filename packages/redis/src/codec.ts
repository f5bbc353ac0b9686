// How tasks, results and events are written for the scripts, and read from their records.
import type {
  DependencyOutcome,
  NewEvent,
  NewResult,
  NewTask,
  ResultStatus,
  StoredEvent,
  StoredResult,
  StoredTask,
  StoredTaskState,
  TaskEventType,
  UnrecordedOutcome,
} from "@omniq/core";
import { referenceLength, type KindFields } from "./kinds.ts";

const letters = { completed: "c", failed: "f", cancelled: "x", expired: "e" } as const;
const statuses: Readonly<Record<string, ResultStatus>> = { c: "completed", f: "failed", x: "cancelled", e: "expired" };

export function letterOf(status: ResultStatus): string {
  return letters[status];
}

/** A value and an error as one text that knows which it is; `j` marks an error that a script kept as JSON. */
export function writeOutcome(value: string | undefined, error: string | undefined): string {
  if (value === undefined) return error === undefined ? "" : `e${error}`;
  return error === undefined ? `v${value}` : `b${JSON.stringify([value, error])}`;
}

function readOutcome(text: string): { readonly value?: string; readonly error?: string } {
  const rest = text.slice(1);
  switch (text[0]) {
    case "v":
      return { value: rest };
    case "e":
      return { error: rest };
    case "j":
      return { error: quoted(rest) ?? damagedError };
    case "b": {
      const both = parsed(rest);
      const [value, error] = Array.isArray(both) ? (both as unknown[]) : [];
      return typeof value === "string" && typeof error === "string" ? { value, error } : { error: damagedError };
    }
    default:
      return {};
  }
}

/** The error of an item that cannot be read: a `QueueError`. */
export const damagedError: string = JSON.stringify({
  code: "OMNIQ_ITEM_DAMAGED",
  message: "What is stored of it cannot be read",
});

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** The text of a JSON string. */
function quoted(text: string): string | undefined {
  const value = parsed(text);
  return typeof value === "string" ? value : undefined;
}

/** What is shown of a task that cannot be read. */
export function damagedTask(id: string, queue: string = "default"): StoredTask {
  return {
    id,
    name: "",
    queue,
    payload: "",
    envelope: "",
    priority: 0,
    maxAttempts: 1,
    resultTtlMs: 0,
    state: "failed",
    run: 1,
    attempt: 0,
    expiries: 0,
    enqueuedAt: 0,
    runAt: 0,
    finishedAt: 0,
    cancelling: false,
    error: damagedError,
  };
}

/** The body of a task that is not plain. With a reference, the envelope is that of a kind which the server has. */
export function bodyOf(task: NewTask, reference: string | undefined): string {
  if (reference !== undefined) return `@${reference}:${task.payload}`;
  return `${task.envelope.length}:${task.envelope}${task.payload}`;
}

/** True for a task that goes straight to its queue's list. */
export function isPlain(task: NewTask): boolean {
  return (
    task.priority === 0 &&
    task.runAt === undefined &&
    (task.delayMs === undefined || task.delayMs === 0) &&
    task.expiresAt === undefined &&
    task.expiresInMs === undefined &&
    task.deduplicate === undefined &&
    task.group === undefined &&
    (task.dependencies === undefined || task.dependencies.length === 0)
  );
}

/** Options of a task that is not plain: a key of two letters and its value, NUL after each. */
export function optionsOf(task: NewTask): string {
  let text = "";
  const add = (key: string, value: string | number | undefined): void => {
    if (value !== undefined) text += `${key}${value}\0`;
  };
  add("ra", task.runAt);
  add("de", task.delayMs === undefined ? undefined : Math.ceil(task.delayMs));
  add("ea", task.expiresAt);
  add("ei", task.expiresInMs);
  add("dk", task.deduplicate?.key);
  add("dw", task.deduplicate?.windowMs);
  add("dm", { keep: "k", replace: "r", extend: "x" }[task.deduplicate?.mode ?? "keep"]);
  add("gk", task.group?.key);
  add("gl", task.group?.limit);
  const dependencies = task.dependencies?.length ?? 0;
  add("dn", dependencies === 0 ? undefined : dependencies);
  return text;
}

export function endingOf(outcome: DependencyOutcome): string {
  const { status, run, attempt, finishedAt, value, error } = outcome;
  return `${letters[status]}\0${run}\0${attempt}\0${finishedAt}\0\0${writeOutcome(value, error)}`;
}

const states: Readonly<Record<string, StoredTaskState>> = {
  r: "ready",
  d: "ready",
  k: "ready",
  h: "ready",
  s: "scheduled",
  b: "blocked",
  f: "failed",
  c: "cancelled",
  e: "expired",
};

/** How an active task differs from its record. */
export interface Activity {
  readonly attempt: number;
  readonly startedAt: number;
  readonly cancelling: boolean;
  readonly progress?: string | undefined;
}

/** Whether this is the short record of a plain task: state, number, time in hex, reference, payload, all but the last of fixed length. */
function isShort(record: string): boolean {
  return record.charCodeAt(0) === 112;
}

const numberEnd = 13;
const timeEnd = 24;
const shortHead = timeEnd + referenceLength;

/** A task from its record; nothing where it cannot be read. `edges` are the fields and values of its dependencies, where it has any. */
export function readTask(
  id: string,
  record: string,
  now: number,
  active: Activity | undefined,
  edges: readonly string[] | undefined,
  kindOf: (reference: string) => KindFields | undefined,
): StoredTask | undefined {
  if (isShort(record)) return readShort(id, record, active, kindOf);
  const end = record.indexOf("\0\0", numberEnd);
  if (end < 0) return undefined;
  const fields = record.slice(numberEnd, end).split("\0");
  const [name = "", queue = "", priority, maxAttempts, resultTtl, , run, attempt, enqueued, at] = fields;
  const enqueuedAt = Number(enqueued);
  const runAt = at === "=" ? enqueuedAt : Number(at);
  const colon = record.indexOf(":", end);
  const refers = record.charCodeAt(end + 2) === 64;
  const cut = refers ? colon + 1 : colon + 1 + Number(record.slice(end + 2, colon));
  const kind = refers ? kindOf(record.slice(end + 3, colon)) : undefined;
  if (colon < 0 || (refers && kind === undefined) || !(cut > colon && cut <= record.length)) return undefined;
  let state = active === undefined ? (states[record[0] as string] as StoredTaskState) : "active";
  // What is due counts as ready, promoted yet or not.
  if (state === "scheduled" && runAt <= now) state = "ready";
  const task: { -readonly [K in keyof StoredTask]: StoredTask[K] } = {
    id,
    name,
    queue,
    payload: record.slice(cut),
    envelope: kind === undefined ? record.slice(colon + 1, cut) : kind.envelope,
    priority: Number(priority),
    maxAttempts: Number(maxAttempts),
    resultTtlMs: resultTtl === "-" ? null : Number(resultTtl),
    state,
    run: Number(run),
    attempt: active?.attempt ?? Number(attempt),
    expiries: 0,
    enqueuedAt,
    runAt,
    cancelling: active?.cancelling ?? false,
  };
  if (task.state === undefined || !areWhole(task)) return undefined;
  if (fields.length > 10) readExtras(task, fields);
  if (active !== undefined) {
    task.startedAt = active.startedAt;
    if (active.progress !== undefined) task.progress = active.progress;
  }
  if (edges !== undefined && edges.length > 0) {
    task.dependencies = edgesInOrder(edges).map((edge) => edge.slice(0, edge.indexOf("\0")));
  }
  return task;
}

/** Whether its numbers are. */
function areWhole({ priority, maxAttempts, resultTtlMs, run, attempt, enqueuedAt, runAt }: StoredTask): boolean {
  return (
    Number.isSafeInteger(priority + maxAttempts + (resultTtlMs ?? 0) + run + attempt) &&
    Number.isSafeInteger(enqueuedAt) &&
    Number.isSafeInteger(runAt)
  );
}

function readShort(
  id: string,
  record: string,
  active: Activity | undefined,
  kindOf: (reference: string) => KindFields | undefined,
): StoredTask | undefined {
  const enqueuedAt = Number.parseInt(record.slice(numberEnd, timeEnd), 16);
  const kind = record.length < shortHead ? undefined : kindOf(record.slice(timeEnd, shortHead));
  if (kind === undefined || !Number.isSafeInteger(enqueuedAt)) return undefined;
  const { name, queue, envelope, priority, maxAttempts, resultTtlMs } = kind;
  const task: { -readonly [K in keyof StoredTask]: StoredTask[K] } = {
    id,
    name,
    queue,
    payload: record.slice(shortHead),
    envelope,
    priority,
    maxAttempts,
    resultTtlMs,
    state: active === undefined ? "ready" : "active",
    run: 1,
    attempt: active === undefined ? 0 : active.attempt,
    expiries: 0,
    enqueuedAt,
    runAt: enqueuedAt,
    cancelling: active === undefined ? false : active.cancelling,
  };
  if (active !== undefined) {
    task.startedAt = active.startedAt;
    if (active.progress !== undefined) task.progress = active.progress;
  }
  return task;
}

function readExtras(task: { -readonly [K in keyof StoredTask]: StoredTask[K] }, fields: readonly string[]): void {
  let groupKey: string | undefined;
  let groupLimit = 1;
  for (let index = 10; index < fields.length; index++) {
    const field = fields[index] as string;
    const value = field.slice(2);
    switch (field.slice(0, 2)) {
      case "ea":
        task.expiresAt = Number(value);
        break;
      case "sa":
        task.startedAt = Number(value);
        break;
      case "fa":
        task.finishedAt = Number(value);
        break;
      case "xp":
        task.expiries = Number(value);
        break;
      case "dk":
        task.deduplicationKey = value;
        break;
      case "gk":
        groupKey = value;
        break;
      case "gl":
        groupLimit = Number(value);
        break;
      case "er":
        task.error = quoted(value) ?? damagedError;
        break;
      case "pr":
        task.progress = quoted(value);
        break;
      case "ca":
        task.cancelling = true;
        break;
      case "dm":
        task.name = "";
        break;
      default:
    }
  }
  if (groupKey !== undefined) task.group = { key: groupKey, limit: groupLimit };
}

/** An active task's part of its lease; nothing where it cannot be read. */
export function readLease(lease: string): Activity | undefined {
  const [, , attempt, startedAt, cancelling, , progress] = lease.split("\0", 7);
  if (!Number.isSafeInteger(Number(attempt)) || !Number.isSafeInteger(Number(startedAt))) return undefined;
  return {
    attempt: Number(attempt),
    startedAt: Number(startedAt),
    cancelling: cancelling === "1",
    ...(progress === undefined || progress === "-" ? {} : { progress: quoted(progress) }),
  };
}

function edgesInOrder(edges: readonly string[]): string[] {
  const list: { readonly position: number; readonly edge: string }[] = [];
  for (let index = 0; index + 1 < edges.length; index += 2)
    list.push({ position: Number(edges[index]), edge: edges[index + 1] as string });
  return list.sort((one, other) => one.position - other.position).map(({ edge }) => edge);
}

/** How a task's dependencies ended. */
export function readOutcomes(edges: readonly string[]): DependencyOutcome[] {
  return edgesInOrder(edges).flatMap((edge) => {
    const [taskId = "", , status = "-", run, attempt, finishedAt] = edge.split("\0", 6);
    if (status === "-") return [];
    const numbers = [run, attempt, finishedAt].map(Number);
    if (statuses[status] === undefined || !numbers.every(Number.isSafeInteger))
      return [{ taskId, run: 1, attempt: 0, status: "failed" as const, finishedAt: 0, error: damagedError }];
    return [
      {
        taskId,
        run: Number(run),
        attempt: Number(attempt),
        status: statuses[status] as ResultStatus,
        finishedAt: Number(finishedAt),
        ...readOutcome(edge.slice(edge.indexOf("\0\0") + 2)),
      },
    ];
  });
}

/** An outcome says nothing of its task's envelope. */
const unread = (): KindFields => ({
  name: "",
  queue: "",
  priority: 0,
  maxAttempts: 1,
  resultTtlMs: null,
  rememberMs: 0,
  envelope: "",
});

/** Nothing where it cannot be read. */
export function readUnrecorded(member: string, record: string): UnrecordedOutcome | undefined {
  const task = readTask(member.slice(12), record, 0, undefined, undefined, unread);
  if (task === undefined) return undefined;
  return {
    taskId: task.id,
    run: task.run,
    attempt: task.attempt,
    name: task.name,
    queue: task.queue,
    status: task.state as UnrecordedOutcome["status"],
    ...(task.error === undefined ? {} : { error: task.error }),
    finishedAt: task.finishedAt ?? 0,
    resultTtlMs: task.resultTtlMs,
  };
}

/** The fields of a result's record before its times. */
export function resultFields(result: NewResult): string {
  return `${result.run}\0${result.attempt}\0${result.name}\0${result.queue}\0${letters[result.status]}`;
}

/** Of one that cannot be read: failed, with `OMNIQ_ITEM_DAMAGED`. */
export function readResult(taskId: string, record: string): StoredResult {
  return readWholeResult(taskId, record) ?? damagedResult(taskId);
}

function damagedResult(taskId: string): StoredResult {
  const nothing = { name: "", queue: "", finishedAt: 0, expiresAt: null };
  return { taskId, run: 1, attempt: 0, status: "failed", error: damagedError, ...nothing };
}

export function isDamaged(result: StoredResult): boolean {
  return result.error === damagedError && result.name === "";
}

function readWholeResult(taskId: string, record: string): StoredResult | undefined {
  const end = record.indexOf("\0\0", 13);
  const [run, attempt, name = "", queue = "", status = "", finishedAt, expiresAt] = record.slice(13, end).split("\0");
  const numbers = [run, attempt, finishedAt, expiresAt === "-" ? 0 : expiresAt].map(Number);
  if (end < 0 || statuses[status] === undefined || !numbers.every(Number.isSafeInteger)) return undefined;
  return {
    taskId,
    run: Number(run),
    attempt: Number(attempt),
    name,
    queue,
    status: statuses[status] as ResultStatus,
    ...readOutcome(record.slice(end + 2)),
    finishedAt: Number(finishedAt),
    expiresAt: expiresAt === "-" ? null : Number(expiresAt),
  };
}

/** An event for a script: id, task, time, text. */
export function writeEvent(event: NewEvent): [string, string, number, string] {
  const { id, at, type, taskId, taskName, queue, run, attempt, data } = event;
  const text = `${id}\0${taskId}\0${at}\0${type}\0${taskName}\0${queue}\0${run}\0${attempt}\0\0${data === undefined ? "" : `d${data}`}`;
  return [id, taskId, at, text];
}

const eventTypes: ReadonlySet<string> = new Set<TaskEventType>([
  "enqueued",
  "started",
  "progress",
  "log",
  "retrying",
  "released",
  "completed",
  "failed",
  "cancelled",
  "expired",
]);

/** Nothing where it cannot be read. */
export function readEvent(text: string, cursor: string): StoredEvent | undefined {
  const end = text.indexOf("\0\0");
  const [id = "", taskId = "", at, type, taskName = "", queue = "", run, attempt] = text.slice(0, end).split("\0");
  const data = text.slice(end + 2);
  const numbers = [at, run, attempt].map(Number);
  if (end < 0 || id === "" || taskId === "" || !eventTypes.has(String(type)) || !numbers.every(Number.isSafeInteger))
    return undefined;
  return {
    id,
    at: Number(at),
    type: type as TaskEventType,
    taskId,
    taskName,
    queue,
    run: Number(run),
    attempt: Number(attempt),
    ...(data === "" ? {} : { data: data.slice(1) }),
    cursor,
  };
}

/** The id in the text of an event that cannot be read, as far as one is there. */
export function eventIdIn(text: string): string {
  return text.split("\0", 1)[0]?.slice(0, 255) ?? "";
}

/** The pieces of a text by their lengths in bytes. */
export function cut(text: string, lengths: readonly number[]): string[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  let at = 0;
  // As many characters as bytes: all of them are ASCII.
  if (text.length === total) return lengths.map((length) => text.slice(at, (at += length)));
  const bytes = Buffer.from(text);
  return lengths.map((length) => bytes.toString("utf8", at, (at += length)));
}
