// Whether a checkpoint is one: every field that a rule relies on is looked at before any of it becomes the state.
import { taskStates } from "./inspection.ts";
import { damagedCheckpoint } from "./pieces.ts";
import { readEvent, readGroup, readOutcome, readResult, readSchedule, readSettings } from "./read-items.ts";
import { isCount, isKey, isObject, isOptionalText, isText } from "./reading.ts";
import type { StateSnapshot } from "./snapshot.ts";

const refuse = (): never => {
  throw damagedCheckpoint();
};
function must(isSound: boolean): void {
  if (!isSound) refuse();
}
/** Times of a state are sums: they may be further away than those that commands may have. */
const isTime = (value: unknown): boolean => Number.isFinite(value);
const isOptionalTime = (value: unknown): boolean => value === undefined || isTime(value);
const isTimeOrNull = (value: unknown): boolean => value === null || isTime(value);
/** Version 1 wrote a time without end as `null`. */
const isOldTime = (value: unknown): boolean => value === null || isTime(value);

/** Throws `OMNIQ_BACKEND_FAILED` for a snapshot that {@link encodeState} cannot have given: the checkpoint before it is read then. */
export function checkSnapshot(snapshot: StateSnapshot): void {
  must(isTime(snapshot.at) && isTime(snapshot.eventTtlMs) && isCount(snapshot.nextSequence) && isCount(snapshot.draws));
  for (const { name, arrival, paused, keys, maxActive, rateLimit, deadLetterTtlMs } of snapshot.queues) {
    must(isKey(name) && isTime(arrival) && typeof paused === "boolean");
    readSettings({ maxActive, rateLimit, deadLetterTtlMs }, refuse);
    for (const [key, { taskId, until }] of keys) must(isKey(key) && isText(taskId) && isOptionalTime(until));
  }
  let last = 0;
  for (const task of snapshot.tasks) {
    must(isCount(task.sequence, last + 1) && task.sequence < snapshot.nextSequence);
    last = task.sequence;
    checkTask(task);
  }
  for (const id of snapshot.unrecorded) must(isText(id));
  for (const [id, until] of snapshot.remembered) must(isText(id) && isTime(until));
  for (const { at, token, outcome } of snapshot.settled) must(isTime(at) && isText(token) && isText(outcome));
  must(isCount(snapshot.results.nextSequence) && isCount(snapshot.events.nextSequence));
  for (const [sequence, result] of snapshot.results.items) {
    must(isCount(sequence) && isTimeOrNull(result.expiresAt) && isTime(result.finishedAt));
    readResult({ ...result, finishedAt: 0, ttlMs: null }, refuse);
  }
  for (const [sequence, event] of snapshot.events.items)
    must(isCount(sequence) && readEvent(event, refuse) !== undefined);
  must(isCount(snapshot.schedules.revision));
  for (const schedule of snapshot.schedules.items)
    must(isText(schedule.revision) && readSchedule(schedule, refuse) !== undefined);
}

function checkTask(task: StateSnapshot["tasks"][number]): void {
  const { deduplication, dependencies, lease } = task;
  must(isKey(task.id) && isText(task.name) && isKey(task.queue));
  must(isText(task.payload) && isText(task.envelope) && isOptionalText(task.progress) && isOptionalText(task.error));
  must(isCount(task.priority, -1_000) && task.priority <= 1_000 && isCount(task.maxAttempts));
  must(isTimeOrNull(task.resultTtlMs) && isTime(task.rememberMs) && taskStates.has(task.state));
  must(isCount(task.run) && isCount(task.attempt) && isCount(task.expiries) && isTime(task.enqueuedAt));
  must(isOldTime(task.runAt) && isOldTime(task.readyAt) && isOptionalTime(task.expiresAt));
  must(isOptionalTime(task.startedAt) && isOptionalTime(task.finishedAt));
  must(
    typeof task.cancelling === "boolean" && typeof task.holdsSlot === "boolean" && typeof task.unrecorded === "boolean",
  );
  must(deduplication === undefined || (isKey(deduplication.key) && isOptionalTime(deduplication.windowMs)));
  readGroup(task.group, refuse);
  must((lease !== undefined) === (task.state === "active"));
  must(lease === undefined || (isText(lease.token) && isTime(lease.deadline) && isText(lease.worker)));
  for (const { taskId, onFailure, outcome } of dependencies ?? []) {
    must(isKey(taskId) && (onFailure === "fail" || onFailure === "run"));
    must(outcome === undefined || (isObject(outcome) && readOutcome(outcome, refuse) !== undefined));
  }
}
