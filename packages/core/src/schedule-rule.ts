// The mathematics of schedules: which occurrences a rule has, and which of them a tick enqueues.
import { everComes, maxCronLength, nextCron } from "./cron.ts";
import { maxDurationMs } from "./duration.ts";
import { OmniQError, reasonOf } from "./errors.ts";
import { checkInteger, checkKey } from "./limits.ts";
import { checkTime, refuseUnknown } from "./option-checks.ts";
import type { ScheduleOptions } from "./schedule.ts";

/** A rule as it is stored. */
export interface StoredRule {
  readonly cron?: string | undefined;
  readonly timeZone?: string | undefined;
  readonly everyMs?: number | undefined;
  readonly at?: number | undefined;
  readonly startAt?: number | undefined;
  readonly endAt?: number | undefined;
  readonly maxRuns?: number | undefined;
  readonly missed: "skip" | "latest" | "all";
}

/** Most occurrences of one schedule that are enqueued at a time; those after them come next. */
export const maxCatchUp = 100;
/** Of what fell into downtime, `missed: "skip"` leaves out what is later than this. */
export const lateMs = 60_000;
/** The last instant that a date can say. */
export const lastInstant = 8_640_000_000_000_000;

const invalid = (message: string, cause?: unknown): OmniQError =>
  new OmniQError("OMNIQ_INVALID_OPTION", message, { cause });

/** Checks a rule and gives it the form in which it is stored. */
export function parseRule(id: string, options: ScheduleOptions): StoredRule {
  checkKey("The id of a schedule", id);
  const where = `of schedule ${JSON.stringify(id)}`;
  refuseUnknown(
    options,
    ["cron", "timeZone", "everyMs", "at", "task", "startAt", "endAt", "maxRuns", "missed"],
    `The options ${where}`,
  );
  const { cron, timeZone, everyMs, at, startAt, endAt, maxRuns, missed = "latest" } = options;
  if ([cron, everyMs, at].filter((rule) => rule !== undefined).length !== 1)
    throw invalid(`Give exactly one of cron, everyMs and at ${where}`);
  if (timeZone !== undefined && cron === undefined) throw invalid(`timeZone ${where} goes with cron only`);
  if (!["skip", "latest", "all"].includes(missed)) throw invalid(`missed ${where} must be one of skip, latest, all`);
  if (everyMs !== undefined) checkInteger(`everyMs ${where}`, everyMs, 1_000, maxDurationMs);
  if (maxRuns !== undefined) checkInteger(`maxRuns ${where}`, maxRuns, 1);
  const rule: StoredRule = {
    cron,
    timeZone: cron === undefined ? undefined : (timeZone ?? "UTC"),
    everyMs,
    at: at === undefined ? undefined : checkTime(`at ${where}`, at),
    startAt: startAt === undefined ? undefined : checkTime(`startAt ${where}`, startAt),
    endAt: endAt === undefined ? undefined : checkTime(`endAt ${where}`, endAt),
    maxRuns,
    missed,
  };
  if (rule.startAt !== undefined && rule.endAt !== undefined && rule.endAt < rule.startAt)
    throw invalid(`endAt ${where} comes before its startAt`);
  if (cron === undefined) return rule;
  checkCron(cron, where);
  checkTimeZone(rule.timeZone, where);
  return { ...rule, cron: cron.trim() };
}

function checkCron(cron: unknown, where: string): asserts cron is string {
  if (typeof cron !== "string" || cron.length > maxCronLength)
    throw invalid(`cron ${where} must be a string of at most ${maxCronLength} characters`);
  if (!/^(\S+\s+){4,5}\S+$/.test(cron.trim())) throw invalid(`cron ${where} must have five or six fields`);
  let comes: boolean;
  try {
    comes = everComes(cron.trim());
  } catch (error) {
    throw invalid(`cron ${where} cannot be understood: ${reasonOf(error)}`, error);
  }
  if (!comes) throw invalid(`cron ${where} never comes: no date is like it`);
}

function checkTimeZone(timeZone: unknown, where: string): void {
  try {
    if (typeof timeZone !== "string") throw new TypeError("not a string");
    void new Intl.DateTimeFormat("en", { timeZone });
  } catch (error) {
    throw invalid(`timeZone ${where} must be an IANA name such as Europe/Berlin`, error);
  }
}

/**
 * The first occurrence after `after`, or `null`. `anchor` is where an interval without `startAt` counts from.
 * Daylight saving: see {@link nextCron}.
 */
export function nextOccurrence(rule: StoredRule, after: number, anchor: number): number | null {
  const { startAt, endAt, everyMs, at } = rule;
  const from = startAt === undefined ? after : Math.max(after, startAt - 1);
  let next: number | null;
  if (at !== undefined) {
    next = at > from ? at : null;
  } else if (everyMs !== undefined) {
    const first = startAt ?? anchor + everyMs;
    next = from < first ? first : first + (Math.floor((from - first) / everyMs) + 1) * everyMs;
  } else {
    next = nextCron(rule.cron as string, rule.timeZone ?? "UTC", from);
  }
  if (next !== null && next > lastInstant) return null;
  return next === null || (endAt !== undefined && next > endAt) ? null : next;
}

/** The last occurrence from `first` (an occurrence itself) to `until`. */
function latestOccurrence(rule: StoredRule, first: number, until: number, anchor: number): number {
  // From the end backward in growing windows, so that years of downtime of a rule that fires each second cost next to
  // nothing. Nothing comes after `endAt`, so windows before it would be walked through in vain.
  const end = Math.min(until, rule.endAt ?? until);
  for (let window = 60_000; ; window *= 60) {
    const from = end - window;
    let latest = from <= first ? first : nextOccurrence(rule, from, anchor);
    if (latest === null || latest > end) {
      if (from <= first) return first;
      continue;
    }
    for (
      let next = nextOccurrence(rule, latest, anchor);
      next !== null && next <= end;
      next = nextOccurrence(rule, latest, anchor)
    )
      latest = next;
    return latest;
  }
}

/** What is to be done with a schedule that is due. */
export interface Due {
  /** Times of the occurrences to enqueue, in order. */
  readonly occurrences: readonly number[];
  /** It may be past: then there is more to do. */
  readonly nextAt: number | null;
  readonly runs: number;
}

/**
 * Decides what becomes of a schedule that is due: `nextAt` and `runs` as stored, `now` by the store's clock. Of what came up to
 * `aliveSince`, when nobody was there, `missed` decides; all that came since is enqueued, however late that is.
 */
export function decideDue(
  rule: StoredRule,
  nextAt: number,
  runs: number,
  now: number,
  anchor: number,
  aliveSince: number = now,
): Due {
  const left = rule.maxRuns === undefined ? Number.POSITIVE_INFINITY : rule.maxRuns - runs;
  if (left <= 0) return { occurrences: [], nextAt: null, runs };
  const limit = Math.min(left, maxCatchUp);
  const occurrences: number[] = [];
  let next: number | null = nextAt;
  if (rule.missed === "latest" && nextAt <= aliveSince) {
    const latest = latestOccurrence(rule, nextAt, Math.min(now, aliveSince), anchor);
    occurrences.push(latest);
    next = nextOccurrence(rule, latest, anchor);
  } else if (rule.missed === "skip" && nextAt <= aliveSince && now - nextAt > lateMs) {
    next = nextOccurrence(rule, Math.min(aliveSince, now - lateMs - 1), anchor);
  }
  while (next !== null && next <= now && occurrences.length < limit) {
    occurrences.push(next);
    next = nextOccurrence(rule, next, anchor);
  }
  const done = runs + occurrences.length;
  const over = rule.maxRuns !== undefined && done >= rule.maxRuns;
  return { occurrences, nextAt: over ? null : next, runs: done };
}
