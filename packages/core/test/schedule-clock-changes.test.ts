// A year's changes of clocks in zones of every sort, for lists, ranges and steps: the rule's answers against a walk through every minute.
import { expect, test } from "vitest";
import { nextOccurrence } from "../src/schedule-rule.ts";
import { changesBetween, offsetAt } from "../src/zone-offsets.ts";

const minute = 60_000;
const day = 1_440 * minute;
/** Hours, half an hour, at midnight, on Saturday, in the southern year, with a change and none, with the day of a month skipped. */
const zones: readonly (readonly [zone: string, year: number])[] = [
  ["Europe/Vienna", 2026],
  ["America/New_York", 2026],
  ["America/Santiago", 2026],
  ["America/Havana", 2026],
  ["Australia/Lord_Howe", 2026],
  ["Africa/Cairo", 2026],
  ["Africa/Casablanca", 2026],
  ["Asia/Beirut", 2026],
  ["America/Nuuk", 2026],
  ["Asia/Kolkata", 2026],
  ["Pacific/Apia", 2011],
];
const expressions = [
  "30 2,14 * * *",
  "0 2,3 * * *",
  "30 1-3 * * *",
  "15,45 0-2 * * *",
  "0 0 * * *",
  "59 23 * * *",
  "20-40/10 2 * * *",
  "0 0,1,2,3,4 * * 0",
  "*/20 2 * * *",
  "*/20 0-23 * * *",
  "*/30 * * * *",
  "0 */2 * * *",
  "10 1-23/2 * * *",
  "15 * * * *",
  "0 1 1,29,30 * *",
];

interface Local {
  readonly minute: number;
  readonly hour: number;
  readonly date: number;
  readonly weekday: number;
}

function matcher(expression: string): (local: Local) => boolean {
  const sets = expression.split(" ").map((field, index) => {
    const last = [59, 23, 31, 12, 6][index] as number;
    const first = index === 2 || index === 3 ? 1 : 0;
    const found = new Set<number>();
    for (const part of field.split(",")) {
      const [range = "", step = "1"] = part.split("/");
      const [low, high] = range === "*" ? [first, last] : range.split("-").map(Number);
      for (let at = low as number; at <= (high ?? (low as number)); at += Number(step)) found.add(at);
    }
    return found;
  });
  return ({ minute: m, hour, date, weekday }) =>
    sets[0]!.has(m) && sets[1]!.has(hour) && sets[2]!.has(date) && sets[4]!.has(weekday);
}

function localOf(format: Intl.DateTimeFormat, instant: number): number {
  const parts = Object.fromEntries(format.formatToParts(instant).map(({ type, value }) => [type, Number(value)]));
  return Date.UTC(parts["year"]!, parts["month"]! - 1, parts["day"]!, parts["hour"]!, parts["minute"]!);
}

/** Walks through every minute around a change, and says at which the rule is due. */
function walk(locals: readonly number[], from: number, expression: string): number[] {
  const matches = matcher(expression);
  const due = (local: number): boolean => {
    const date = new Date(local);
    return matches({
      minute: date.getUTCMinutes(),
      hour: date.getUTCHours(),
      date: date.getUTCDate(),
      weekday: date.getUTCDay(),
    });
  };
  const [minutes = "", hours = ""] = expression.split(" ");
  const followsHours = hours.startsWith("*");
  const follows = followsHours || minutes.startsWith("*");
  const seen = new Set<number>();
  const found: number[] = [];
  locals.forEach((local, index) => {
    const before = locals[index - 1];
    let isDue = due(local) && (follows || !seen.has(local));
    if (before !== undefined && !followsHours)
      for (let skipped = before + minute; skipped < local; skipped += minute) isDue ||= due(skipped);
    seen.add(local);
    if (isDue) found.push(from + index * minute);
  });
  return found;
}

test.each(zones)("%s in %d", (zone, year) => {
  const changes = changesBetween(zone, Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1));
  expect(changes).toHaveLength(zone === "Asia/Kolkata" ? 0 : zone === "Pacific/Apia" ? 3 : 2);
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
  });
  const places = changes.length > 0 ? changes.map(({ at }) => at) : [Date.UTC(year, 2, 29)];
  for (const place of places) {
    const from = Math.floor(place / minute) * minute - day;
    const locals = Array.from({ length: 2 * 1_440 }, (_, index) => localOf(format, from + index * minute));
    expect(offsetAt(zone, from)).toBe((locals[0] as number) - from);
    for (const cron of expressions) {
      const expected = walk(locals, from, cron);
      const found: number[] = [];
      for (
        let at = nextOccurrence({ cron, timeZone: zone, missed: "all" }, from - 1, 0);
        at !== null && at < from + 2 * day;
        at = nextOccurrence({ cron, timeZone: zone, missed: "all" }, at, 0)
      )
        found.push(at);
      const texts = (times: readonly number[]): string[] => times.map((at) => new Date(at).toISOString());
      expect(texts(found), cron).toEqual(texts(expected));
      // From any moment between, too: a process asks from where it is.
      const wrong: string[] = [];
      for (let at = from; at < (expected.at(-1) ?? 0); at += 211 * minute + 13) {
        const next = nextOccurrence({ cron, timeZone: zone, missed: "all" }, at, 0);
        if (next !== expected.find((one) => one > at)) wrong.push(`${cron} after ${new Date(at).toISOString()}`);
      }
      expect(wrong).toEqual([]);
    }
  }
});
test("a list of hours in Vienna through a year: none is lost, none comes twice", () => {
  let count = 0;
  const rule = { cron: "30 2,14 * * *", timeZone: "Europe/Vienna", missed: "all" } as const;
  for (let at = nextOccurrence(rule, Date.UTC(2026, 0, 1), 0); at !== null && at < Date.UTC(2027, 0, 1); count++)
    at = nextOccurrence(rule, at, 0);
  expect(count).toBe(730);
});
