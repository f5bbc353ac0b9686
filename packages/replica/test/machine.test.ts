// The rules of the task queue contract, on the state machine; every command also runs on a state restored from a checkpoint.
import { describe, expect, it } from "vitest";
import { Bench, task } from "./fixtures.ts";

describe("delivery", () => {
  it("order: priority, then readiness, then enqueue order; queues as listed", () => {
    const b = new Bench();
    b.enqueue(
      task("a"),
      task("b", { priority: 5 }),
      task("c", { delayMs: 10 }),
      task("d"),
      task("x", { queue: "p" }),
      task("low", { priority: -1 }),
    );
    b.at += 20;
    b.enqueue(task("e"));
    expect(b.ids(100, ["q", "p"])).toEqual(["b", "a", "d", "c", "e", "low", "x"]);
  });
  it("release-refunds: it keeps its place and its attempt", () => {
    const b = new Bench();
    b.enqueue(task("a"), task("b"));
    const [lease] = b.reserve(1);
    b.at += 50;
    b.enqueue(task("c"));
    expect(b.release(lease)).toBe("settled");
    const again = b.reserve();
    expect(again.map(({ taskId, attempt }) => [taskId, attempt])).toEqual([
      ["a", 1],
      ["b", 1],
      ["c", 1],
    ]);
  });
  it("enqueue-idempotent: known while live and for rememberMs after", () => {
    const b = new Bench();
    expect(b.enqueue(task("a"), task("a"))).toEqual(["enqueued", "duplicate"]);
    b.complete(b.reserve()[0]);
    b.at += 9_999;
    expect(b.enqueue(task("a"))).toEqual(["duplicate"]);
    b.at += 1;
    expect(b.enqueue(task("a"))).toEqual(["enqueued"]);
  });
  it("settle-fenced: lost with another token, settled again within ten minutes, only for the same outcome", () => {
    const b = new Bench();
    b.enqueue(task("a"));
    const [lease] = b.reserve();
    if (lease === undefined) throw new Error("no lease");
    expect(b.complete({ ...lease, token: "other" })).toBe("lost");
    expect(b.complete(lease)).toBe("settled");
    expect(b.complete(lease)).toBe("settled");
    expect(b.fail(lease)).toBe("lost");
    b.at += 600_000;
    expect(b.complete(lease)).toBe("lost");
  });
  it("lease-expiry-redelivers: after a pause, refunded; the third expiry is a dead letter", () => {
    const b = new Bench();
    b.enqueue(task("a"));
    const [first] = b.reserve();
    b.at += 1_000;
    b.reserve();
    b.at += 1_001;
    expect(b.reserve()[0]?.attempt).toBe(1);
    expect(b.complete(first)).toBe("lost");
    for (let round = 0; round < 4; round++) {
      b.at += 2_001;
      b.reserve();
    }
    expect(b.unrecorded()).toEqual(["a failed"]);
    expect(b.run({ verb: "getTasks", ids: ["a"] })[0]).toMatchObject({ state: "failed", expiries: 3, attempt: 0 });
    expect(b.run({ verb: "unrecorded", limit: 1 })[0]?.error).toContain("OMNIQ_LEASE_LOST");
  });
  it("extend: pushes the deadline out, stores progress, tells of a cancel", () => {
    const b = new Bench();
    b.enqueue(task("a"));
    const [lease] = b.reserve();
    b.at += 900;
    expect(b.run({ verb: "extend", leases: [{ ...lease!, progress: "half" }], leaseMs: 1_000 })).toEqual([
      { state: "held", deadline: b.at + 1_000 },
    ]);
    b.at += 900;
    expect(b.ids()).toEqual([]);
    expect(b.run({ verb: "cancel", ids: ["a"] })).toEqual(["cancelling"]);
    expect(b.run({ verb: "extend", leases: [lease!], leaseMs: 5 })).toMatchObject([{ state: "cancelling" }]);
    expect(b.run({ verb: "getTasks", ids: ["a"] })[0]).toMatchObject({ progress: "half", cancelling: true });
    b.at += 5;
    b.reserve();
    expect(b.unrecorded()).toEqual(["a cancelled"]);
  });
  it("no-early-delivery, no-late-delivery, exact counts between upkeeps", () => {
    const b = new Bench();
    b.enqueue(
      task("a", { runAt: b.at + 100 }),
      task("b", { expiresInMs: 50 }),
      task("c", { delayMs: 200, expiresInMs: 10 }),
    );
    expect(b.counts()).toMatchObject({ scheduled: 2, ready: 1 });
    b.at += 99;
    // Late, and not decided yet: still among the ready, and never given.
    expect(b.counts()).toMatchObject({ scheduled: 2, ready: 1, unrecorded: 0 });
    expect(b.ids()).toEqual([]);
    expect(b.counts()).toMatchObject({ scheduled: 2, ready: 0, unrecorded: 1 });
    b.at += 1;
    expect(b.counts()).toMatchObject({ scheduled: 1, ready: 1, unrecorded: 1 });
    expect(b.ids()).toEqual(["a"]);
    b.at += 500;
    expect(b.stateOf("c")).toBe("ready");
    b.run({ verb: "sweep", limit: 100 });
    expect(b.stateOf("c")).toBe("expired");
    expect(b.unrecorded()).toEqual(["b expired", "c expired"]);
    b.recordAll();
    expect(b.stateOf("b")).toBeUndefined();
  });
  it("retry: at maxAttempts a dead letter, unrecorded until recorded", () => {
    const b = new Bench();
    b.enqueue(task("a", { maxAttempts: 2 }));
    b.retry(b.reserve()[0], 10);
    expect(b.stateOf("a")).toBe("scheduled");
    b.at += 10;
    b.retry(b.reserve()[0]);
    expect(b.counts()).toMatchObject({ failed: 1, unrecorded: 1 });
    expect(b.run({ verb: "retry", ids: ["a"] })).toEqual(["busy"]);
    expect(b.run({ verb: "remove", ids: ["a"] })).toEqual(["busy"]);
    b.recordAll();
    expect(b.run({ verb: "retry", ids: ["a", "zz"] })).toEqual(["retried", "unknown"]);
    expect(b.reserve()[0]).toMatchObject({ run: 2, attempt: 1 });
  });
});

describe("control", () => {
  it("group-limit: a full group hides nobody; limit 1 keeps strict order through a retry", () => {
    const b = new Bench();
    const group = { key: "g", limit: 1 };
    b.enqueue(task("a", { group }), task("b", { group }), task("c"), task("d", { group: { key: "g", limit: 2 } }));
    const leases = b.reserve();
    expect(leases.map(({ taskId }) => taskId)).toEqual(["a", "c", "d"]);
    b.complete(leases[2]);
    b.retry(leases[0], 100);
    expect(b.ids()).toEqual([]);
    b.at += 100;
    const [again] = b.reserve();
    expect(again?.taskId).toBe("a");
    b.complete(again);
    expect(b.ids()).toEqual(["b"]);
    expect(b.counts()).toMatchObject({ ready: 0, active: 2 });
  });
  it("group-limit: the best of a group goes first, whatever came before", () => {
    const b = new Bench();
    const group = { key: "g", limit: 2 };
    b.enqueue(task("a", { group }), task("b", { group }), task("hi", { group, priority: 9 }));
    const first = b.reserve();
    expect(first.map(({ taskId }) => taskId)).toEqual(["hi", "a"]);
    b.run({ verb: "cancel", ids: ["b"] });
    b.complete(first[0]);
    expect(b.ids()).toEqual([]);
  });
  it("queue-limit and pause", () => {
    const b = new Bench();
    b.run({ verb: "configureQueue", queue: "q", settings: { maxActive: 2 } });
    b.enqueue(task("a"), task("b"), task("c"));
    const leases = b.reserve();
    expect(leases).toHaveLength(2);
    b.run({ verb: "pause", queue: "q" });
    b.complete(leases[0]);
    expect(b.ids()).toEqual([]);
    b.run({ verb: "resume", queue: "q" });
    expect(b.ids()).toEqual(["c"]);
  });
  it("rate-limit: a full bucket first, then one a step", () => {
    const b = new Bench();
    b.run({ verb: "configureQueue", queue: "q", settings: { rateLimit: { limit: 3, windowMs: 1_000 } } });
    b.enqueue(...Array.from({ length: 8 }, (_, index) => task(`t${index}`)));
    expect(b.ids()).toHaveLength(3);
    b.at += 333;
    expect(b.ids()).toHaveLength(0);
    b.at += 1;
    expect(b.ids()).toHaveLength(1);
    b.at += 1_000;
    expect(b.ids()).toHaveLength(3);
  });
  it("deduplicate: keep, replace, extend, windows, and a replace of an active holder", () => {
    const b = new Bench();
    const key = (mode: "keep" | "replace" | "extend", windowMs?: number) => ({
      deduplicate: { key: "k", mode, windowMs },
    });
    expect(b.enqueue(task("a", key("keep")), task("b", key("keep")))).toEqual(["enqueued", "deduplicated"]);
    expect(b.enqueue(task("c", { ...key("replace"), payload: "new" }))).toEqual(["replaced"]);
    expect(b.enqueue(task("d", { ...key("extend"), delayMs: 100 }))).toEqual(["extended"]);
    expect(b.ids()).toEqual([]);
    b.at += 100;
    const [lease] = b.reserve();
    expect(lease?.task).toMatchObject({ id: "a", payload: "new" });
    expect(b.enqueue(task("e", key("extend")), task("f", key("replace")), task("g", key("keep")))).toEqual([
      "deduplicated",
      "enqueued",
      "deduplicated",
    ]);
    b.complete(lease);
    b.complete(b.reserve()[0]);
    expect(b.enqueue(task("h", key("keep", 1_000)))).toEqual(["enqueued"]);
    b.complete(b.reserve()[0]);
    b.at += 999;
    expect(b.enqueue(task("i", key("keep")))).toEqual(["deduplicated"]);
    b.at += 1;
    expect(b.enqueue(task("i", key("keep")))).toEqual(["enqueued"]);
  });
  it("deduplicate: retrying a dead letter whose key is taken is a conflict", () => {
    const b = new Bench();
    b.enqueue(task("a", { deduplicate: { key: "k", mode: "keep" } }));
    b.fail(b.reserve()[0]);
    expect(b.enqueue(task("b", { deduplicate: { key: "k", mode: "keep" } }))).toEqual(["enqueued"]);
    expect(b.run({ verb: "retry", ids: ["a"] })).toEqual(["conflict"]);
    b.complete(b.reserve()[0]);
    expect(b.run({ verb: "retry", ids: ["a"] })).toEqual(["retried"]);
  });
  it("dependencies: any order in a call, outcomes delivered, failures fail or free", () => {
    const b = new Bench();
    b.enqueue(
      task("child", {
        dependencies: [
          { taskId: "p2", onFailure: "run" },
          { taskId: "p1", onFailure: "fail" },
        ],
      }),
      task("p1"),
      task("p2"),
      task("strict", { dependencies: [{ taskId: "p2", onFailure: "fail" }] }),
      task("below", { dependencies: [{ taskId: "strict", onFailure: "fail" }] }),
    );
    const [p1, p2] = b.reserve();
    b.complete(p1, "one");
    b.fail(p2);
    expect(b.unrecorded()).toEqual(["strict failed"]);
    const [child] = b.reserve();
    expect(child?.dependencies.map(({ taskId, status, value }) => [taskId, status, value])).toEqual([
      ["p2", "failed", undefined],
      ["p1", "completed", "one"],
    ]);
    b.recordAll();
    expect(b.unrecorded()).toEqual(["below failed"]);
    expect(b.run({ verb: "getTasks", ids: ["below"] })[0]).toMatchObject({ attempt: 0 });
    expect(b.enqueue(task("late", { dependencies: [{ taskId: "p2", onFailure: "run" }] }))).toEqual(["enqueued"]);
    expect(b.ids()).toEqual(["late"]);
  });
  it("dependencies: unknown ones are answered and nothing is stored; a given outcome counts; a removed one counts as cancelled", () => {
    const b = new Bench();
    expect(
      b.run({
        verb: "enqueue",
        calls: [
          { tasks: [task("x"), task("a", { dependencies: [{ taskId: "gone", onFailure: "run" }] })] },
          { tasks: [task("b")] },
        ],
      }),
    ).toMatchObject([{ state: "unknown-dependencies", taskIds: ["gone"] }, { state: "accepted" }]);
    expect(b.stateOf("x")).toBeUndefined();
    const outcome = { taskId: "gone", run: 1, attempt: 1, status: "completed", value: "v", finishedAt: 1 } as const;
    b.enqueue(task("a", { dependencies: [{ taskId: "gone", onFailure: "fail", outcome }] }));
    expect(b.reserve().map(({ taskId, dependencies }) => [taskId, dependencies.length])).toEqual([
      ["b", 0],
      ["a", 1],
    ]);
    b.enqueue(task("w"), task("dep", { dependencies: [{ taskId: "w", onFailure: "fail" }] }));
    expect(b.run({ verb: "remove", ids: ["w"] })).toEqual(["removed"]);
    expect(b.unrecorded()).toEqual(["dep failed"]);
  });
  it("enqueue-atomic: a dependency on a task that the call deduplicated points to the holder", () => {
    const b = new Bench();
    b.enqueue(task("holder", { deduplicate: { key: "k", mode: "keep" } }));
    b.enqueue(
      task("dup", { deduplicate: { key: "k", mode: "keep" } }),
      task("child", { dependencies: [{ taskId: "dup", onFailure: "fail" }] }),
    );
    b.complete(b.reserve()[0]);
    expect(b.reserve()[0]).toMatchObject({ taskId: "child", dependencies: [{ taskId: "holder" }] });
  });
  it("inspect and purge: stable pages in enqueue order, foreign cursors refused", () => {
    const b = new Bench();
    b.enqueue(...Array.from({ length: 10 }, (_, index) => task(`t${index}`, { name: index % 2 ? "odd" : "even" })));
    const first = b.run({ verb: "listTasks", filter: { queue: "q", name: "odd" }, page: { limit: 2 } });
    b.run({ verb: "remove", ids: ["t3", "t5"] });
    const rest = b.run({
      verb: "listTasks",
      filter: { queue: "q", name: "odd" },
      page: { limit: 5, cursor: first.next },
    });
    expect([first, rest].flatMap(({ items }) => items.map(({ id }) => id))).toEqual(["t1", "t3", "t7", "t9"]);
    expect(rest.next).toBeUndefined();
    expect(() => b.run({ verb: "listTasks", filter: {}, page: { cursor: "e5" } })).toThrow("cursor");
    expect(b.run({ verb: "purge", queue: "q", states: ["ready"] })).toBe(8);
    expect(() => b.run({ verb: "purge", queue: "q", states: ["active"] })).toThrow("purge");
  });
  it("dead letters go after deadLetterTtlMs", () => {
    const b = new Bench();
    b.run({ verb: "configureQueue", queue: "q", settings: { deadLetterTtlMs: 100 } });
    b.enqueue(task("a"));
    b.fail(b.reserve()[0]);
    b.at += 100;
    expect(b.run({ verb: "sweep", limit: 10 })).toBe(1);
    expect(b.stateOf("a")).toBeUndefined();
  });
});

describe("results, events and schedules", () => {
  it("result-first-wins, result-expiry", () => {
    const b = new Bench();
    const result = {
      taskId: "a",
      run: 1,
      attempt: 1,
      name: "n",
      queue: "q",
      status: "completed",
      value: "1",
      ttlMs: 100,
    } as const;
    b.run({ verb: "putResults", results: [result] });
    expect(b.run({ verb: "putResults", results: [{ ...result, value: "2" }] })[0]?.value).toBe("1");
    expect(b.run({ verb: "putResults", results: [{ ...result, run: 2, value: "3" }] })[0]?.value).toBe("3");
    expect(b.run({ verb: "listResults", filter: {}, page: {} }).items).toHaveLength(1);
    b.at += 100;
    expect(b.run({ verb: "getResults", ids: ["a"] })).toEqual([undefined]);
    expect(b.run({ verb: "sweepResults", limit: 10 })).toBe(1);
  });
  it("settle carries result and events in one step, once", () => {
    const b = new Bench();
    const event = (id: string, taskId = "a") =>
      ({ id, at: b.at, type: "completed", taskId, taskName: "n", queue: "q", run: 1, attempt: 1 }) as const;
    b.run({ verb: "enqueue", calls: [{ tasks: [task("a"), task("a")], events: [event("e1"), event("no", "other")] }] });
    const [lease] = b.reserve();
    const settlement = {
      ...lease!,
      outcome: "completed",
      storeResult: true,
      value: "v",
      events: [event("e2"), event("e1")],
    } as const;
    b.run({ verb: "settle", settlements: [settlement] });
    b.run({ verb: "settle", settlements: [settlement] });
    expect(b.run({ verb: "queryEvents", filter: { taskId: "a" }, page: {} }).items.map(({ id }) => id)).toEqual([
      "e1",
      "e2",
    ]);
    expect(b.run({ verb: "getResults", ids: ["a"] })[0]).toMatchObject({ value: "v", expiresAt: b.at + 60_000 });
    b.at += 604_800_000;
    expect(b.run({ verb: "queryEvents", filter: {}, page: {} }).items).toEqual([]);
    expect(b.run({ verb: "sweepEvents", limit: 10 })).toBe(2);
  });
  it("schedule-once: compare-and-set, due, byte order", () => {
    const b = new Bench();
    const schedule = (id: string) => ({ id, rule: "r", template: "t", nextAt: b.at, runs: 0, paused: false });
    const stored = b.run({ verb: "putSchedule", schedule: schedule("\u{1F600}"), revision: null });
    b.run({ verb: "putSchedule", schedule: schedule("\uFFEE") });
    expect(b.run({ verb: "putSchedule", schedule: schedule("\uFFEE"), revision: null })).toBeNull();
    expect(b.run({ verb: "listSchedules", page: {} }).items.map(({ id }) => id)).toEqual(["\uFFEE", "\u{1F600}"]);
    const page = b.run({ verb: "listSchedules", page: { limit: 1 } });
    expect(b.run({ verb: "listSchedules", page: { limit: 1, cursor: page.next } }).items[0]?.id).toBe("\u{1F600}");
    expect(b.run({ verb: "dueSchedules", limit: 10 }).schedules).toHaveLength(2);
    const advance = {
      verb: "advanceSchedule",
      id: "\u{1F600}",
      revision: stored!.revision,
      next: { nextAt: null, runs: 1 },
    } as const;
    expect([b.run(advance), b.run(advance)]).toEqual([true, false]);
    expect(b.run({ verb: "dueSchedules", limit: 10 }).schedules).toHaveLength(1);
  });
});
