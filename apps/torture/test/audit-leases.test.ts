// The auditor's checks of leases and orders: each finds a history that breaks its rule, and lets pass what only looks like it.
import { OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { everyone, type Circumstances } from "../src/history.ts";
import { accepted, auditOf, lease, settle, settled, type Written } from "./journals.ts";

let omniq: OmniQ;
beforeEach(() => {
  omniq = new OmniQ({ taskQueue: memory() });
});
afterEach(() => omniq.close());

/** What is found beside results, which these tasks have none of. */
async function found(lines: readonly Written[], circumstances?: Partial<Circumstances>): Promise<readonly string[]> {
  const { violations } = await auditOf(omniq, lines, circumstances);
  return violations.filter((text) => !text.endsWith("was accepted and has no result"));
}

describe("leases", () => {
  const first = lease("a", 1_000);
  /** After one expiry. */
  const redelivered = (at: number, more = {}): Written => lease("a", at, { expiries: 1, ...more });

  test("a second lease without an end of the first is found", async () => {
    expect(await found([first, lease("a", 9_000)])).toEqual([
      "a: it had two leases at a time: the first was neither settled nor did it run out",
    ]);
    expect(await found([first, settle("a", 1_000, "release"), lease("a", 1_100)])).toEqual([]);
    expect(await found([first, settle("a", 1_000, "retry"), lease("a", 1_100, { attempt: 2 })])).toEqual([]);
    expect(await found([first, redelivered(4_200)])).toEqual([]);
  });

  test("a lease that ran out before its time is found, by the store's clock and by the host's", async () => {
    expect(await found([first, redelivered(3_500)])).toEqual([
      "a: it had two leases at a time for 500 ms by the store's clock",
    ]);
    // The store's clock goes too fast for all who look at it.
    expect(await found([first, redelivered(3_500, { from: 4_100, deadline: 7_100 })])).toEqual([
      "a: it had two leases at a time for 500 ms",
    ]);
    // What asked at 3,500 and was answered at 4,100 may have begun at 4,000.
    expect(await found([first, redelivered(3_500, { at: 4_100 })])).toEqual([]);
  });

  test("a heartbeat counts from when it was sent", async () => {
    const extended: Written = { kind: "extended", task: "a", token: "a 1000", sent: 3_000, deadline: 6_000 };
    expect(await found([first, extended, redelivered(5_000)])).toEqual([
      "a: it had two leases at a time for 1000 ms by the store's clock",
    ]);
    expect(await found([first, extended, redelivered(6_100)])).toEqual([]);
  });

  test("when the store's clock was set meanwhile, times prove nothing, but the end must still be there", async () => {
    const storeSteps = [{ at: 2_000, ms: 2_500 }];
    expect(await found([first, redelivered(3_500)], { storeSteps })).toEqual([]);
    expect(await found([first, lease("a", 3_500)], { storeSteps })).toHaveLength(1);
    // One that was long ago explains nothing.
    expect(await found([first, redelivered(3_500)], { storeSteps: [{ at: -9_000, ms: 2_500 }] })).toHaveLength(1);
  });

  test("a release that costs an attempt, a retry that costs none and an expiry that costs one are found", async () => {
    const wrong = [
      [first, settle("a", 1_000, "release"), lease("a", 1_100, { attempt: 2 })],
      [first, settle("a", 1_000, "retry"), lease("a", 1_100)],
      [first, redelivered(4_500, { attempt: 2 })],
    ];
    for (const lines of wrong)
      expect((await found(lines)).join()).toMatch(/attempt went from 1 to|two leases at a time/);
    const { releases, redeliveries } = await auditOf(omniq, [
      first,
      ...settled("a", 1_000, "release"),
      lease("a", 1_100),
      redelivered(4_500),
    ]);
    expect([releases, redeliveries]).toEqual([1, 1]);
  });

  test("a lease before the end of its release's delay is found, by the time at which the release was sent", async () => {
    const put: Written = { kind: "settle", task: "a", token: "a 1000", outcome: "release", at: 1_500, delayMs: 300 };
    const [, answered] = settled("a", 1_000, "release");
    const lines = (at: number): readonly Written[] => [first, put, answered as Written, lease("a", at)];
    expect(await found(lines(1_700))).toEqual(["a: it was leased again 95 ms before the end of its release's delay"]);
    expect(await found(lines(1_800))).toEqual([]);
    expect(await found(lines(1_700), { storeSteps: [{ at: 1_600, ms: 2_000 }] })).toEqual([]);
    // Nobody knows that it took effect.
    expect(await found([first, put, lease("a", 1_700)])).toEqual([]);
    expect((await auditOf(omniq, lines(1_800))).putOff).toBe(1);
  });

  test("a lease that ran out is explained by a fault of its holder, of all, or of the store's clock", async () => {
    const unexplained = async (circumstances: Partial<Circumstances>): Promise<number> =>
      (await auditOf(omniq, [first, redelivered(4_500)], circumstances)).unexplained;
    const span = { from: 2_000, to: 3_000 };
    expect(await unexplained({ faults: [{ pid: 1, ...span }] })).toBe(0);
    expect(await unexplained({ faults: [{ pid: everyone, ...span }] })).toBe(0);
    expect(await unexplained({ storeSteps: [{ at: 2_000, ms: 100 }] })).toBe(0);
    expect(await unexplained({ faults: [{ pid: 2, ...span }] })).toBe(1);
  });

  test("a lease after the task was settled for good is found", async () => {
    expect(await found([first, ...settled("a", 1_000, "completed"), redelivered(9_000)])).toEqual([
      "a: it was leased again after it was settled as completed",
    ]);
  });

  test("a run that nobody asked for is found", async () => {
    const again = lease("a", 2_000, { run: 2 });
    expect(await found([first, ...settled("a", 1_000, "failed"), again])).toEqual([
      "a: run 2 of it was leased, and nobody retried it",
    ]);
    const asked: Written = { kind: "retrying", task: "a" };
    expect(await found([first, ...settled("a", 1_000, "failed"), asked, again])).toEqual([]);
  });

  test("a token that is given twice is found", async () => {
    const twice = await found([first, { ...first, expiries: 1 } as Written]);
    expect(twice).toContain("a: one token was given twice");
  });

  test("two settlements of one run that stood are found", async () => {
    const lines = [first, ...settled("a", 1_000, "completed"), redelivered(4_500), ...settled("a", 4_500, "completed")];
    expect(await found(lines)).toContain("run 1 of a was settled twice");
  });

  test("a lease before the task is due is found", async () => {
    expect(await found([lease("a", 1_000, { runAt: 1_400 })])).toEqual(["a was leased 400 ms before it was due"]);
    expect(await found([lease("a", 1_000, { runAt: 1_400 })], { storeSteps: [{ at: 900, ms: -2_000 }] })).toEqual([]);
  });
});

describe("order", () => {
  const waits = accepted("waits", 100, 110);
  const high = lease("waits", 1_000, { priority: 2 });

  test("a lease of lower priority while a higher one waited is found", async () => {
    const low = lease("low", 500, { priority: 1 });
    expect(await found([waits, high, low])).toEqual(["low of priority 1 was leased while waits of priority 2 waited"]);
  });

  test("what was asked for before it was accepted, answered after it was asked for, or is of another queue, is not", async () => {
    const low = { priority: 1 };
    expect(await found([waits, high, lease("low", 105, low)])).toEqual([]);
    expect(await found([waits, high, lease("low", 500, { ...low, at: 1_100 })])).toEqual([]);
    expect(await found([waits, high, lease("low", 500, { ...low, queue: "other" })])).toEqual([]);
    expect(await found([waits, { ...high, plain: false } as Written, lease("low", 500, low)])).toEqual([]);
    // Its first lease is not known, so it did not wait so long.
    expect(await found([waits, { ...high, expiries: 1 } as Written, lease("low", 500, low)])).toEqual([]);
  });

  test("a claim of someone who ended may have held the task that waited", async () => {
    const low = lease("low", 3_500, { priority: 1 });
    const waited = lease("waits", 9_000, { priority: 2 });
    expect(await found([waits, waited, low], { ends: [2_000] })).toEqual([]);
    expect(await found([waits, waited, low], { ends: [1_000, 4_000] })).toHaveLength(1);
  });

  test("a later task of the same priority that is leased first is found", async () => {
    const early = lease("later", 500, { priority: 2 });
    expect(await found([waits, high, accepted("later", 120, 130), early])).toEqual([
      "later was leased while waits, which was enqueued first, waited",
    ]);
    expect(await found([waits, high, accepted("later", 105, 130), early])).toEqual([]);
    const ordered = async (sent: number): Promise<number> =>
      (await auditOf(omniq, [waits, high, accepted("later", sent, 130), early])).ordered;
    expect([await ordered(120), await ordered(105)]).toEqual([1, 0]);
  });

  test("an answer whose leases are not in the order of priority is found", async () => {
    const together = (first: number, second: number): readonly Written[] => [
      lease("a", 500, { priority: first, index: 0 }),
      lease("b", 500, { priority: second, index: 1 }),
    ];
    expect(await found(together(1, 2))).toEqual(["one answer gave a of priority 1 before b of priority 2"]);
    expect(await found(together(2, 1))).toEqual([]);
  });
});

describe("groups", () => {
  const runs: readonly Written[] = [
    { kind: "end", task: "a", at: 200, started: 100, group: "g" },
    { kind: "end", task: "b", at: 300, started: 150, group: "g", pid: 2 },
  ];

  test("overlaps are found, but not those of a process that suffered a fault", async () => {
    expect(await found(runs)).toEqual(["a and b of group g overlapped by 50 ms"]);
    expect(await found(runs, { faults: [{ pid: 1, from: 90, to: 210 }] })).toEqual([]);
    expect(await found(runs, { storeSteps: [{ at: 50, ms: 3_000 }] })).toEqual([]);
  });

  test("a task that is leased before one that was enqueued first is found, by whatever process", async () => {
    const grouped = { group: "g", plain: false };
    const calls = [accepted("a", 100, 110), { ...accepted("b", 120, 130), pid: 2 }];
    const late = lease("a", 2_000, grouped);
    const early = lease("b", 1_000, grouped);
    expect(await found([...calls, late, early])).toEqual([
      "b of group g was leased before a, which was enqueued first",
    ]);
    expect(await found([...calls, { ...late, expiries: 1 } as Written, early])).toEqual([]);
    expect(await found([accepted("a", 100, 125), ...calls.slice(1), late, early])).toEqual([]);
  });
});
