// The mathematics of schedules: occurrences, daylight saving, and what a tick does with what was missed.
import { describe, expect, test } from "vitest";
import { decideDue, maxCatchUp, nextOccurrence, parseRule, type StoredRule } from "../src/schedule-rule.ts";

const ms = (text: string): number => Date.parse(text);
const rule = (options: Partial<StoredRule>): StoredRule => ({ missed: "latest", ...options });
const berlin = (cron: string): StoredRule => rule({ cron, timeZone: "Europe/Berlin" });
function series(of: StoredRule, after: string, count: number): string[] {
  const times: string[] = [];
  for (
    let at: number | null = nextOccurrence(of, ms(after), 0);
    at !== null && times.length < count;
    at = nextOccurrence(of, at, 0)
  ) {
    times.push(new Date(at).toISOString().replace(":00.000Z", "Z"));
  }
  return times;
}

describe("daylight saving in Berlin", () => {
  test("spring: a daily time before, in and after the gap", () => {
    expect(series(berlin("30 1 * * *"), "2026-03-28T12:00Z", 2)).toEqual(["2026-03-29T00:30Z", "2026-03-29T23:30Z"]);
    expect(series(berlin("30 2 * * *"), "2026-03-28T12:00Z", 2)).toEqual(["2026-03-29T01:00Z", "2026-03-30T00:30Z"]);
    expect(series(berlin("0 3 * * *"), "2026-03-28T12:00Z", 2)).toEqual(["2026-03-29T01:00Z", "2026-03-30T01:00Z"]);
  });
  test("autumn: a daily time in the doubled hour comes once, wherever one starts", () => {
    expect(series(berlin("30 2 * * *"), "2026-10-24T12:00Z", 2)).toEqual(["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
    expect(series(berlin("30 2 * * *"), "2026-10-25T00:45Z", 1)).toEqual(["2026-10-26T01:30Z"]);
    expect(series(berlin("0 3 * * *"), "2026-10-24T12:00Z", 2)).toEqual(["2026-10-25T02:00Z", "2026-10-26T02:00Z"]);
  });
  test("rules by the hour or minute keep their real distance through both changes", () => {
    expect(series(berlin("0 * * * *"), "2026-10-24T23:30Z", 3)).toEqual([
      "2026-10-25T00:00Z",
      "2026-10-25T01:00Z",
      "2026-10-25T02:00Z",
    ]);
    expect(series(berlin("*/30 * * * *"), "2026-03-29T00:15Z", 3)).toEqual([
      "2026-03-29T00:30Z",
      "2026-03-29T01:00Z",
      "2026-03-29T01:30Z",
    ]);
  });
  test("strictly after, to the millisecond", () => {
    const at = ms("2026-10-25T02:00Z");
    expect(nextOccurrence(berlin("0 3 * * *"), at - 1, 0)).toBe(at);
    expect(nextOccurrence(berlin("0 3 * * *"), at, 0)).toBe(ms("2026-10-26T02:00Z"));
  });
});

describe("intervals and single times", () => {
  test("count from the anchor, or from startAt", () => {
    expect(nextOccurrence(rule({ everyMs: 1_000 }), 500, 500)).toBe(1_500);
    expect(nextOccurrence(rule({ everyMs: 1_000 }), 1_500, 500)).toBe(2_500);
    expect(nextOccurrence(rule({ everyMs: 1_000, startAt: 10_000 }), 0, 500)).toBe(10_000);
    expect(nextOccurrence(rule({ everyMs: 1_000, startAt: 10_000 }), 10_000, 500)).toBe(11_000);
  });
  test("end at endAt", () => {
    expect(nextOccurrence(rule({ everyMs: 1_000, endAt: 3_000 }), 1_000, 0)).toBe(2_000);
    expect(nextOccurrence(rule({ everyMs: 1_000, endAt: 3_000 }), 2_000, 0)).toBe(3_000);
    expect(nextOccurrence(rule({ everyMs: 1_000, endAt: 3_000 }), 3_000, 0)).toBeNull();
  });
  test("one time is one time", () => {
    expect(nextOccurrence(rule({ at: 5 }), 4, 0)).toBe(5);
    expect(nextOccurrence(rule({ at: 5 }), 5, 0)).toBeNull();
  });
});

describe("missed occurrences", () => {
  const every = (missed: StoredRule["missed"], more: Partial<StoredRule> = {}): StoredRule =>
    rule({ everyMs: 60_000, missed, ...more });
  test("latest enqueues the last of them", () => {
    expect(decideDue(every("latest"), 60_000, 0, 600_500, 0)).toEqual({
      occurrences: [600_000],
      nextAt: 660_000,
      runs: 1,
    });
  });
  test("skip enqueues what is on time, and nothing that is late", () => {
    expect(decideDue(every("skip"), 600_000, 3, 600_500, 0)).toEqual({
      occurrences: [600_000],
      nextAt: 660_000,
      runs: 4,
    });
    expect(decideDue(rule({ everyMs: 3_600_000, missed: "skip" }), 3_600_000, 3, 7_000_000, 0)).toEqual({
      occurrences: [],
      nextAt: 7_200_000,
      runs: 3,
    });
  });
  test("all enqueues each, a bounded number at a time", () => {
    const first = decideDue(every("all"), 60_000, 0, 60_000 * 250, 0);
    expect(first.occurrences).toHaveLength(maxCatchUp);
    expect(first).toMatchObject({ nextAt: 60_000 * 101, runs: 100 });
    const second = decideDue(every("all"), first.nextAt as number, first.runs, 60_000 * 250, 0);
    expect(second.occurrences[0]).toBe(60_000 * 101);
    expect(decideDue(every("all"), second.nextAt as number, second.runs, 60_000 * 250, 0)).toMatchObject({
      nextAt: 60_000 * 251,
      runs: 250,
    });
  });
  test("maxRuns ends it", () => {
    expect(decideDue(every("all", { maxRuns: 3 }), 60_000, 1, 600_000, 0)).toEqual({
      occurrences: [60_000, 120_000],
      nextAt: null,
      runs: 3,
    });
    expect(decideDue(every("latest", { maxRuns: 3 }), 60_000, 3, 600_000, 0)).toEqual({
      occurrences: [],
      nextAt: null,
      runs: 3,
    });
  });
  test("years of downtime of a rule that fires each second", () => {
    const now = ms("2030-01-01T00:00:00.500Z");
    expect(decideDue(berlin("* * * * * *"), ms("2026-01-01T00:00Z"), 0, now, 0)).toMatchObject({
      occurrences: [now - 500],
      nextAt: now + 500,
    });
    expect(decideDue(berlin("0 3 1 1 *"), ms("2026-01-01T02:00Z"), 0, now, 0).occurrences).toEqual([
      ms("2029-01-01T02:00Z"),
    ]);
  });
});

describe("what is refused", () => {
  const put = (options: object): unknown => parseRule("s", { task: {}, ...options } as never);
  test.each<[object, string]>([
    [{}, "exactly one"],
    [{ cron: "* * * * *", everyMs: 1_000 }, "exactly one"],
    [{ cron: "* * * *" }, "five or six"],
    [{ cron: "99 * * * *" }, "cannot be understood"],
    [{ cron: "0 0 31 2 *" }, "never comes"],
    [{ cron: "0 0 31 4,6,9,11 *" }, "never comes"],
    [{ cron: `${"0,".repeat(509)}0 * * * *` }, "at most 1024 characters"],
    [{ cron: "* * * * *", timeZone: "Mars/Olympus" }, "timeZone"],
    [{ everyMs: 10 }, "everyMs"],
    [{ everyMs: 1_000, timeZone: "UTC" }, "timeZone"],
    [{ at: new Date(Number.NaN) }, "at"],
    [{ everyMs: 1_000, missed: "some" }, "missed"],
    [{ everyMs: 1_000, maxRuns: 0 }, "maxRuns"],
    [{ everyMs: 1_000, startAt: 10, endAt: 5 }, "endAt"],
    [{ everyMs: 1_000, every: 5 }, '"every"'],
  ])("%j", (options, message) => {
    expect(() => put(options)).toThrow(
      expect.objectContaining({ code: "OMNIQ_INVALID_OPTION", message: expect.stringContaining(message) as string }),
    );
  });
  test("the longest expression and a day that leap years have are taken", () => {
    const longest = `${"0,".repeat(507)}0 0 * * *`.padEnd(1_024);
    expect(put({ cron: longest })).toMatchObject({ cron: longest.trim() });
    expect(put({ cron: "0 0 29 2 *" })).toMatchObject({ cron: "0 0 29 2 *" });
  });
});
