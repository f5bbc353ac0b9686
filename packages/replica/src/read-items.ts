// What commands carry, item by item: tasks, leases and their ends, results, events and schedules.
import type {
  Dependency,
  DependencyOutcome,
  LeaseExtension,
  LeaseReference,
  NewEvent,
  NewResult,
  NewSchedule,
  NewTask,
  QueueSettings,
  ResultStatus,
  Settlement,
} from "@omniq/core";
import {
  isCount,
  isKey,
  isObject,
  isOptionalText,
  isOptionalTime,
  isText,
  isTime,
  isTimeOrNull,
  readList,
  type Loose,
  type Refuse,
} from "./reading.ts";
import { resultStatuses } from "./results.ts";

/** A task of a log. `damaged`: it can't be read, and is made a dead letter of what can. */
export type ReadTask = NewTask & { readonly damaged?: true };

export function readTask(value: unknown, refuse: Refuse): ReadTask | undefined {
  if (!isObject(value)) return refuse("a task");
  const given = value as Loose<NewTask>;
  const task = readWholeTask(given, refuse);
  if (task !== undefined || !isKey(given.id) || !isKey(given.queue)) return task;
  return {
    id: given.id,
    queue: given.queue,
    name: isText(given.name) ? given.name : "",
    payload: isText(given.payload) ? given.payload : "",
    envelope: isText(given.envelope) ? given.envelope : "",
    priority: 0,
    maxAttempts: 1,
    resultTtlMs: 0,
    rememberMs: 0,
    damaged: true,
  };
}

function readWholeTask(given: Loose<NewTask>, refuse: Refuse): NewTask | undefined {
  const { id, name, queue, payload, envelope, priority, maxAttempts, resultTtlMs, rememberMs } = given;
  const { runAt, delayMs, expiresAt, expiresInMs } = given;
  if (!isKey(id)) return refuse("id of a task");
  if (!isKey(name)) return refuse("name of a task");
  if (!isKey(queue)) return refuse("queue of a task");
  if (!isText(payload)) return refuse("payload of a task");
  if (!isText(envelope)) return refuse("envelope of a task");
  if (!isCount(priority, -1_000) || priority > 1_000) return refuse("priority of a task");
  if (!isCount(maxAttempts, 1)) return refuse("maxAttempts of a task");
  if (!isTimeOrNull(resultTtlMs)) return refuse("resultTtlMs of a task");
  if (!isTime(rememberMs)) return refuse("rememberMs of a task");
  if (!isOptionalTime(runAt)) return refuse("runAt of a task");
  if (!isOptionalTime(delayMs)) return refuse("delayMs of a task");
  if (!isOptionalTime(expiresAt)) return refuse("expiresAt of a task");
  if (!isOptionalTime(expiresInMs)) return refuse("expiresInMs of a task");
  const deduplicate = readDeduplicate(given.deduplicate, refuse);
  const group = readGroup(given.group, refuse);
  const dependencies = readDependencies(given.dependencies, refuse);
  if (deduplicate === null || group === null || dependencies === null) return undefined;
  return {
    id,
    name,
    queue,
    payload,
    envelope,
    priority,
    maxAttempts,
    resultTtlMs,
    rememberMs,
    runAt,
    delayMs,
    expiresAt,
    expiresInMs,
    deduplicate,
    group,
    dependencies,
  };
}

// Of a field that may lack, `null` says that it is there and can't be read.
function readDeduplicate(value: unknown, refuse: Refuse): NewTask["deduplicate"] | null {
  if (value === undefined) return undefined;
  if (isObject(value)) {
    const { key, windowMs, mode } = value as Loose<NonNullable<NewTask["deduplicate"]>>;
    if (isKey(key) && isOptionalTime(windowMs) && (mode === "keep" || mode === "replace" || mode === "extend"))
      return { key, windowMs, mode };
  }
  return refuse("deduplicate of a task") ?? null;
}
export function readGroup(value: unknown, refuse: Refuse): NewTask["group"] | null {
  if (value === undefined) return undefined;
  if (isObject(value)) {
    const { key, limit } = value as Loose<NonNullable<NewTask["group"]>>;
    if (isKey(key) && isCount(limit, 1)) return { key, limit };
  }
  return refuse("group of a task") ?? null;
}
function readDependencies(value: unknown, refuse: Refuse): Dependency[] | undefined | null {
  if (value === undefined) return undefined;
  const read = readList(value, "dependencies of a task", readDependency, refuse);
  return read === undefined || read.length !== (value as readonly unknown[]).length ? null : read;
}
function readDependency(value: unknown, refuse: Refuse): Dependency | undefined {
  if (!isObject(value)) return refuse("a dependency");
  const { taskId, onFailure, outcome } = value as Loose<Dependency>;
  if (!isKey(taskId)) return refuse("taskId of a dependency");
  if (onFailure !== "fail" && onFailure !== "run") return refuse("onFailure of a dependency");
  if (outcome === undefined) return { taskId, onFailure };
  const read = readOutcome(outcome, refuse);
  return read === undefined ? undefined : { taskId, onFailure, outcome: read };
}

export function readOutcome(given: unknown, refuse: Refuse): DependencyOutcome | undefined {
  if (!isObject(given)) return refuse("an outcome");
  const { taskId, run, attempt, status, value, error, finishedAt } = given as Loose<DependencyOutcome>;
  if (!isKey(taskId)) return refuse("taskId of an outcome");
  if (!isCount(run)) return refuse("run of an outcome");
  if (!isCount(attempt)) return refuse("attempt of an outcome");
  if (!resultStatuses.has(status)) return refuse("status of an outcome");
  if (!isOptionalText(value)) return refuse("value of an outcome");
  if (!isOptionalText(error)) return refuse("error of an outcome");
  if (!isTime(finishedAt)) return refuse("finishedAt of an outcome");
  const read = { taskId, run, attempt, status: status as ResultStatus, finishedAt };
  return { ...read, ...(value === undefined ? {} : { value }), ...(error === undefined ? {} : { error }) };
}

/** Nobody holds a lease with this token: what can't be read is answered as `lost`. */
const noLease: LeaseReference = { taskId: "", queue: "", token: "", run: 0, attempt: 0 };
const noSettlement: Settlement = { ...noLease, outcome: "release" };

export function readExtension(value: unknown, refuse: Refuse): LeaseExtension {
  if (!isObject(value)) return refuse("a lease") ?? noLease;
  const { taskId, queue, token, run, attempt, progress } = value as Loose<LeaseExtension>;
  if (!isText(taskId)) return refuse("taskId of a lease") ?? noLease;
  if (!isText(token)) return refuse("token of a lease") ?? noLease;
  if (!isText(queue)) return refuse("queue of a lease") ?? noLease;
  if (!isCount(run)) return refuse("run of a lease") ?? noLease;
  if (!isCount(attempt)) return refuse("attempt of a lease") ?? noLease;
  if (!isOptionalText(progress)) return refuse("progress of a lease") ?? noLease;
  return { taskId, queue, token, run, attempt, progress };
}

/** All that any of them has. */
type LooseSettlement = Loose<LeaseReference> & {
  readonly outcome?: unknown;
  readonly delayMs?: unknown;
  readonly storeResult?: unknown;
  readonly value?: unknown;
  readonly error?: unknown;
  readonly events?: unknown;
};

// Objects are written out, since spreading them costs as much as all the rest of a settlement.
export function readSettlement(given: unknown, refuse: Refuse): Settlement {
  if (!isObject(given)) return refuse("a settlement") ?? noSettlement;
  const { taskId, queue, token, run, attempt, outcome, delayMs, storeResult, value, error } = given as LooseSettlement;
  const { events: asked } = given as LooseSettlement;
  if (!isText(taskId)) return refuse("taskId of a lease") ?? noSettlement;
  if (!isText(token)) return refuse("token of a lease") ?? noSettlement;
  if (!isText(queue)) return refuse("queue of a lease") ?? noSettlement;
  if (!isCount(run)) return refuse("run of a lease") ?? noSettlement;
  if (!isCount(attempt)) return refuse("attempt of a lease") ?? noSettlement;
  const events = asked === undefined ? undefined : readList(asked, "events", readEvent, refuse);
  if (!isOptionalText(error)) return refuse("error of a settlement") ?? noSettlement;
  if (outcome === "completed" || outcome === "failed" || outcome === "cancelled") {
    if (typeof storeResult !== "boolean") return refuse("storeResult of a settlement") ?? noSettlement;
    if (!isOptionalText(value)) return refuse("value of a settlement") ?? noSettlement;
    return { taskId, queue, token, run, attempt, outcome, storeResult, value, error, events };
  }
  if (outcome === "release") {
    if (!isOptionalTime(delayMs)) return refuse("delayMs of a release") ?? noSettlement;
    return { taskId, queue, token, run, attempt, outcome, delayMs, events };
  }
  if (outcome !== "retry") return refuse("outcome of a settlement") ?? noSettlement;
  if (!isTime(delayMs)) return refuse("delayMs of a retry") ?? noSettlement;
  if (error === undefined) return refuse("error of a retry") ?? noSettlement;
  return { taskId, queue, token, run, attempt, outcome, delayMs, error, events };
}

export function readRecorded(
  value: unknown,
  refuse: Refuse,
): { readonly taskId: string; readonly run: number } | undefined {
  if (!isObject(value)) return refuse("an outcome");
  const { taskId, run } = value as { readonly taskId?: unknown; readonly run?: unknown };
  return isText(taskId) && isCount(run) ? { taskId, run } : refuse("an outcome");
}

export function readSettings(value: unknown, refuse: Refuse): QueueSettings | undefined {
  if (!isObject(value)) return refuse("settings of a queue");
  const { maxActive, rateLimit, deadLetterTtlMs } = value as Loose<QueueSettings>;
  if (maxActive !== undefined && maxActive !== null && !isCount(maxActive)) return refuse("maxActive of a queue");
  if (deadLetterTtlMs !== undefined && !isTimeOrNull(deadLetterTtlMs)) return refuse("deadLetterTtlMs of a queue");
  if (rateLimit === undefined || rateLimit === null) return { maxActive, rateLimit, deadLetterTtlMs };
  if (!isObject(rateLimit)) return refuse("rateLimit of a queue");
  const { limit, windowMs } = rateLimit as Loose<NonNullable<QueueSettings["rateLimit"]>>;
  if (!isCount(limit, 1)) return refuse("limit of a rateLimit");
  if (!isTime(windowMs) || windowMs <= 0) return refuse("windowMs of a rateLimit");
  return { maxActive, rateLimit: { limit, windowMs }, deadLetterTtlMs };
}

export function readResult(given: unknown, refuse: Refuse): NewResult | undefined {
  if (!isObject(given)) return refuse("a result");
  const { taskId, run, attempt, name, queue, status, value, error, finishedAt, ttlMs } = given as Loose<NewResult>;
  if (!isKey(taskId)) return refuse("taskId of a result");
  if (!isCount(run)) return refuse("run of a result");
  if (!isCount(attempt)) return refuse("attempt of a result");
  if (!isText(name)) return refuse("name of a result");
  if (!isText(queue)) return refuse("queue of a result");
  if (!resultStatuses.has(status)) return refuse("status of a result");
  if (!isOptionalText(value)) return refuse("value of a result");
  if (!isOptionalText(error)) return refuse("error of a result");
  if (!isOptionalTime(finishedAt)) return refuse("finishedAt of a result");
  if (!isTimeOrNull(ttlMs)) return refuse("ttlMs of a result");
  return { taskId, run, attempt, name, queue, status: status as ResultStatus, value, error, finishedAt, ttlMs };
}

export function readEvent(value: unknown, refuse: Refuse): NewEvent | undefined {
  if (!isObject(value)) return refuse("an event");
  const { id, at, type, taskId, taskName, queue, run, attempt, data } = value as Loose<NewEvent>;
  if (!isKey(id)) return refuse("id of an event");
  if (!isTime(at)) return refuse("at of an event");
  if (!isKey(type)) return refuse("type of an event");
  if (!isText(taskId)) return refuse("taskId of an event");
  if (!isText(taskName)) return refuse("taskName of an event");
  if (!isText(queue)) return refuse("queue of an event");
  if (!isCount(run)) return refuse("run of an event");
  if (!isCount(attempt)) return refuse("attempt of an event");
  if (!isOptionalText(data)) return refuse("data of an event");
  const read = { id, at, type: type as NewEvent["type"], taskId, taskName, queue, run, attempt };
  return data === undefined ? read : { ...read, data };
}

export function readSchedule(value: unknown, refuse: Refuse): NewSchedule | undefined {
  if (!isObject(value)) return refuse("a schedule");
  const { id, rule, template, nextAt, runs, paused } = value as Loose<NewSchedule>;
  if (!isKey(id)) return refuse("id of a schedule");
  if (!isText(rule)) return refuse("rule of a schedule");
  if (!isText(template)) return refuse("template of a schedule");
  if (!isTimeOrNull(nextAt)) return refuse("nextAt of a schedule");
  if (!isCount(runs)) return refuse("runs of a schedule");
  if (typeof paused !== "boolean") return refuse("paused of a schedule");
  return { id, rule, template, nextAt, runs, paused };
}
