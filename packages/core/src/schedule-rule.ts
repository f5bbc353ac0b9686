// The mathematics of schedules: which occurrences a rule has, and which of them a tick enqueues.
import { Cron } from "croner";
import { maxDurationMs } from "./duration.ts";
import { OmniQError } from "./errors.ts";
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

/** Most occurrences of one schedule that one tick enqueues under `missed: "all"`; the next tick goes on. */
export const maxCatchUp = 100;
/** Ticks come every second or so; what is later than this fell into downtime. */
export const lateMs = 60_000;

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
  if (cron !== undefined) {
    if (typeof cron !== "string" || !/^(\S+\s+){4,5}\S+$/.test(cron.trim()))
      throw invalid(`cron ${where} must have five or six fields`);
    checkTimeZone(rule.timeZone, where);
    try {
      compile(rule).nextRun(new Date(0));
    } catch (error) {
      throw invalid(
        `cron ${where} cannot be understood: ${error instanceof Error ? error.message : "unknown reason"}`,
        error,
      );
    }
  }
  return rule;
}

function checkTimeZone(timeZone: unknown, where: string): void {
  try {
    if (typeof timeZone !== "string") throw new TypeError("not a string");
    void new Intl.DateTimeFormat("en", { timeZone });
  } catch (error) {
    throw invalid(`timeZone ${where} must be an IANA name such as Europe/Berlin`, error);
  }
}

// Compiling an expression costs more than asking it.
const compiled = new Map<string, Cron>();

function compile(rule: StoredRule): Cron {
  const key = `${rule.timeZone}\n${rule.cron}`;
  let cron = compiled.get(key);
  if (cron === undefined) {
    // Without a function nothing is started: it only computes.
    cron = new Cron((rule.cron as string).trim(), { timezone: rule.timeZone ?? "UTC" });
    if (compiled.size >= 1_000) compiled.clear();
    compiled.set(key, cron);
  }
  return cron;
}

/**
 * The first occurrence after `after`, or `null`. `anchor` is where an interval without `startAt` counts from.
 * Daylight saving: a local time
 * that is skipped comes at the end of the gap; one that comes twice counts once when the expression names its hour.
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
    next = compile(rule).nextRun(new Date(from))?.getTime() ?? null;
    // Cron looks at whole seconds; a millisecond before one must still find it.
    if (next !== null && next <= from)
      next =
        compile(rule)
          .nextRun(new Date(from + 1_000))
          ?.getTime() ?? null;
  }
  return next === null || (endAt !== undefined && next > endAt) ? null : next;
}

/** The last occurrence from `first` (an occurrence itself) to `now`. */
function latestOccurrence(rule: StoredRule, first: number, now: number, anchor: number): number {
  // From the end backward in growing windows, so that years of downtime of a rule that fires each second cost next to
  // nothing.
  for (let window = 60_000; ; window *= 60) {
    const from = now - window;
    let latest = from <= first ? first : nextOccurrence(rule, from, anchor);
    if (latest === null || latest > now) continue;
    for (
      let next = nextOccurrence(rule, latest, anchor);
      next !== null && next <= now;
      next = nextOccurrence(rule, latest, anchor)
    )
      latest = next;
    return latest;
  }
}

/** What a tick does with a schedule that is due. */
export interface Due {
  /** Times of the occurrences to enqueue, in order. */
  readonly occurrences: readonly number[];
  readonly nextAt: number | null;
  readonly runs: number;
}

/** Decides a tick: `nextAt` (due) and `runs` as stored, `now` by the store's clock. */
export function decideDue(rule: StoredRule, nextAt: number, runs: number, now: number, anchor: number): Due {
  const left = rule.maxRuns === undefined ? Number.POSITIVE_INFINITY : rule.maxRuns - runs;
  if (left <= 0) return { occurrences: [], nextAt: null, runs };
  const occurrences: number[] = [];
  let last = nextAt;
  if (rule.missed === "all") {
    const limit = Math.min(left, maxCatchUp);
    for (
      let next: number | null = nextAt;
      next !== null && next <= now && occurrences.length < limit;
      next = nextOccurrence(rule, next, anchor)
    ) {
      occurrences.push(next);
      last = next;
    }
  } else {
    last = latestOccurrence(rule, nextAt, now, anchor);
    if (rule.missed === "latest" || now - last <= lateMs) occurrences.push(last);
  }
  const done = runs + occurrences.length;
  const over = rule.maxRuns !== undefined && done >= rule.maxRuns;
  return { occurrences, nextAt: over ? null : nextOccurrence(rule, last, anchor), runs: done };
}
