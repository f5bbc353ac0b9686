// When a cron expression comes in a time zone. Croner reads the expression and knows the calendar; what happens where clocks are changed is decided here.
import { Cron } from "croner";
import { changesBetween, offsetAt, type ClockChange } from "./zone-offsets.ts";

/** Characters of an expression. All minutes, hours and days one by one have fewer. */
export const maxCronLength = 1_024;
/** Longer than any change of clocks, so that the last one is known that the local time may still repeat. */
const lookBackMs = 2 * 86_400_000;

interface Compiled {
  readonly cron: Cron;
  /** The hour is `*` or a step of it: the rule follows real time. */
  readonly everyHour: boolean;
  /** The minute is `*` or a step of it. */
  readonly everyMinute: boolean;
  /** The last answer: schedules with one expression mostly ask the same. */
  last: { readonly timeZone: string; readonly after: number; readonly next: number | null } | undefined;
}

// Compiling an expression costs more than asking it.
const compiled = new Map<string, Compiled>();

/** Throws what Croner says where the expression cannot be understood. */
function compile(expression: string): Compiled {
  let known = compiled.get(expression);
  if (known === undefined) {
    const fields = expression.split(/\s+/u);
    const [minute = "", hour = ""] = fields.slice(-5);
    // Without a function nothing is started: it only computes. In UTC no local time is missing or comes twice; said as an offset, it costs a
    // quarter of what it does as a zone.
    known = {
      cron: new Cron(expression, { utcOffset: 0 }),
      everyHour: /^[*?]/u.test(hour),
      everyMinute: /^[*?]/u.test(minute),
      last: undefined,
    };
    if (compiled.size >= 5_000) compiled.clear();
    compiled.set(expression, known);
  }
  return known;
}

/** The first local time after `local`, both written as if they were UTC. */
function nextLocal(cron: Cron, local: number): number {
  return cron.nextRun(new Date(local))?.getTime() ?? Number.POSITIVE_INFINITY;
}

/** Whether an expression ever comes. Throws what Croner says where it cannot be understood. */
export function everComes(expression: string): boolean {
  return nextLocal(compile(expression).cron, Date.UTC(2000, 0, 1)) !== Number.POSITIVE_INFINITY;
}

/**
 * The first occurrence after an instant, or `null`.
 *
 * Where clocks go forward, a time whose hour is named and that does not exist comes once, at the end of the gap. Where they go back, a time whose
 * hour and minute are named comes once, the first time. Rules with `*` or a step for the hour, and in the repeated hour those with it for the
 * minute, follow real time.
 */
export function nextCron(expression: string, timeZone: string, after: number): number | null {
  const known = compile(expression);
  if (known.last?.after === after && known.last.timeZone === timeZone) return known.last.next;
  const next = timeZone === "UTC" ? finite(nextLocal(known.cron, after)) : nextInZone(known, timeZone, after);
  known.last = { timeZone, after, next };
  return next;
}

function nextInZone({ cron, everyHour, everyMinute }: Compiled, timeZone: string, after: number): number | null {
  const repeats = everyHour || everyMinute;
  let from = after;
  let offset = offsetAt(timeZone, after);
  const last = repeats ? undefined : changesBetween(timeZone, after - lookBackMs, after).at(-1);
  let local = Math.max(after + offset, endOfRepeat(last) - 1);
  // A local time that never comes again ends it; every other step passes a change of clocks.
  for (;;) {
    const next = nextLocal(cron, local) - offset;
    if (next === Number.POSITIVE_INFINITY) return null;
    const [change] = changesBetween(timeZone, from, next);
    if (change === undefined) return next;
    const gapStart = change.at + change.before;
    const gapEnd = change.at + change.after;
    if (gapEnd > gapStart && !everyHour && nextLocal(cron, gapStart - 1) < gapEnd) return change.at;
    from = change.at;
    offset = change.after;
    local = repeats ? gapEnd - 1 : Math.max(gapEnd, endOfRepeat(change)) - 1;
  }
}

/** The local time up to which a change repeats what was there before. */
function endOfRepeat(change: ClockChange | undefined): number {
  if (change === undefined || change.after >= change.before) return Number.NEGATIVE_INFINITY;
  return change.at + change.before;
}

function finite(value: number): number | null {
  return value === Number.POSITIVE_INFINITY ? null : value;
}
