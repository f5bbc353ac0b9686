// The two texts that a schedule is stored as, its rule and the task that it enqueues, and the total functions that read them.
import type { NewTask, StoredSchedule } from "./contracts/index.ts";
import { everComes, maxCronLength } from "./cron.ts";
import { maxDurationMs } from "./duration.ts";
import { isOmniQError, OmniQError } from "./errors.ts";
import { checkKey, maxPriority, minPriority } from "./limits.ts";
import { lastInstant, type StoredRule } from "./schedule-rule.ts";
import { checkVersion, damaged, isRecord, isWhole, parseObject } from "./stored-text.ts";
import { offsetAt } from "./zone-offsets.ts";

/** The format of both texts. */
const version = 1;

/** A task without its id, which each occurrence brings. */
export type TaskTemplate = Omit<NewTask, "id" | "rememberMs">;

/** The text of a rule. Equal rules have equal texts, apart from the anchor. */
export function encodeRule(rule: StoredRule, anchor: number): string {
  const { cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed } = rule;
  return JSON.stringify({ version, cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed, anchor });
}

type Texts = Pick<StoredSchedule, "id" | "rule" | "template">;

/** The rule that {@link encodeRule} wrote. Throws `OMNIQ_ITEM_DAMAGED`, and nothing else, for any other text. */
export function decodeRule(schedule: Pick<Texts, "id" | "rule">): {
  readonly rule: StoredRule;
  readonly anchor: number;
} {
  const what = `The rule of schedule ${JSON.stringify(schedule.id)}`;
  const written = parseObject(schedule.rule, what);
  checkVersion(written["version"], version, what);
  const { cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed, anchor } = written;
  if ([cron, everyMs, at].filter((one) => one !== undefined).length !== 1)
    throw damaged(what, "it is neither cron nor interval nor time");
  if (cron !== undefined && !isCron(cron)) throw damaged(what, "its cron expression");
  if (timeZone !== undefined && !isZone(timeZone)) throw damaged(what, "its time zone");
  if (everyMs !== undefined && !isWhole(everyMs, 1_000, maxDurationMs)) throw damaged(what, "its interval");
  if (at !== undefined && !isInstant(at)) throw damaged(what, "its time");
  if (startAt !== undefined && !isInstant(startAt)) throw damaged(what, "its start");
  if (endAt !== undefined && !isInstant(endAt)) throw damaged(what, "its end");
  if (maxRuns !== undefined && !isWhole(maxRuns, 1, Number.MAX_SAFE_INTEGER)) throw damaged(what, "its number of runs");
  if (missed !== "skip" && missed !== "latest" && missed !== "all")
    throw damaged(what, "what it does with missed times");
  if (!isInstant(anchor)) throw damaged(what, "its anchor");
  return { rule: { cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed }, anchor };
}

const isInstant = (value: unknown): value is number => isWhole(value, 0, lastInstant);

function isCron(value: unknown): value is string {
  if (typeof value !== "string" || value.length > maxCronLength || !/^(\S+\s+){4,5}\S+$/.test(value)) return false;
  try {
    return everComes(value);
  } catch {
    return false;
  }
}

function isZone(value: unknown): value is string {
  if (typeof value !== "string" || value.length > 255) return false;
  try {
    return value === "UTC" || Number.isFinite(offsetAt(value, 0));
  } catch {
    return false;
  }
}

/** The text of a template. */
export function encodeTemplate(task: NewTask): string {
  const { id: _id, rememberMs: _rememberMs, ...template } = task;
  return JSON.stringify({ version, ...template });
}

/** The template that {@link encodeTemplate} wrote. Throws `OMNIQ_ITEM_DAMAGED`, and nothing else, for any other text. */
export function decodeTemplate(schedule: Pick<Texts, "id" | "template">): TaskTemplate {
  const what = `The task of schedule ${JSON.stringify(schedule.id)}`;
  const written = parseObject(schedule.template, what);
  // Texts of before versions were written have none; they are of the first.
  checkVersion(written["version"] ?? 1, version, what);
  const { name, queue, payload, envelope, priority, maxAttempts, resultTtlMs } = written;
  const { delayMs, expiresInMs, deduplicate, group } = written;
  if (!isKey(name)) throw damaged(what, "its name");
  if (!isKey(queue)) throw damaged(what, "its queue");
  if (typeof payload !== "string") throw damaged(what, "its input");
  if (typeof envelope !== "string") throw damaged(what, "its envelope");
  if (!isWhole(priority, minPriority, maxPriority)) throw damaged(what, "its priority");
  if (!isWhole(maxAttempts, 1, 1_000_000)) throw damaged(what, "its attempts");
  if (resultTtlMs !== null && !isWhole(resultTtlMs, 0, maxDurationMs)) throw damaged(what, "its result's time to live");
  if (delayMs !== undefined && !isWhole(delayMs, 0, maxDurationMs)) throw damaged(what, "its delay");
  if (expiresInMs !== undefined && !isWhole(expiresInMs, 1, maxDurationMs)) throw damaged(what, "its expiry");
  if (deduplicate !== undefined && !isDeduplication(deduplicate)) throw damaged(what, "its deduplication");
  if (group !== undefined && !isGroup(group)) throw damaged(what, "its group");
  return {
    ...{ name, queue, payload, envelope, priority, maxAttempts, resultTtlMs },
    ...(delayMs === undefined ? {} : { delayMs }),
    ...(expiresInMs === undefined ? {} : { expiresInMs }),
    ...(deduplicate === undefined ? {} : { deduplicate }),
    ...(group === undefined ? {} : { group }),
  };
}

function isKey(value: unknown): value is string {
  try {
    checkKey("it", value);
    return true;
  } catch {
    return false;
  }
}

function isDeduplication(value: unknown): value is NonNullable<NewTask["deduplicate"]> {
  if (!isRecord(value) || !isKey(value["key"])) return false;
  const { mode, windowMs } = value;
  return (
    (mode === "keep" || mode === "replace" || mode === "extend") &&
    (windowMs === undefined || isWhole(windowMs, 1, maxDurationMs))
  );
}

function isGroup(value: unknown): value is NonNullable<NewTask["group"]> {
  return isRecord(value) && isKey(value["key"]) && isWhole(value["limit"], 1, 1_000_000);
}

/** What is wrong with a stored schedule, or `undefined`. Never throws. */
export function problemOf(schedule: StoredSchedule): OmniQError | undefined {
  try {
    decodeRule(schedule);
    decodeTemplate(schedule);
    return undefined;
  } catch (error) {
    return isOmniQError(error) ? error : damaged(`The schedule ${JSON.stringify(schedule.id)}`, "its texts");
  }
}

/** Of a newer version than this one reads: others, who can, go on with it. */
export function isNewer(schedule: StoredSchedule): boolean {
  return [schedule.rule, schedule.template].some((text) => {
    try {
      const written = parseObject(text, "It")["version"];
      return typeof written === "number" && written > version;
    } catch {
      return false;
    }
  });
}
