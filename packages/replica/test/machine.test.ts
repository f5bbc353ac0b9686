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
  it("snooze: a release with a delay refunds the attempt, is due after it, and keeps the slot of a group of one", () => {
    const b = new Bench();
    const group = { key: "g", limit: 1 };
    b.enqueue(task("a", { group, expiresInMs: 300 }), task("b", { group }), task("c"));
    const [a, c] = b.reserve();
    const snooze = (lease: typeof a) =>
      b.run({ verb: "settle", settlements: [{ ...lease!, outcome: "release", delayMs: 100 }] });
    expect(snooze(a)).toEqual(["settled"]);
    expect(snooze(c)).toEqual(["settled"]);
    expect(snooze(c)).toEqual(["settled"]);
    expect(b.counts()).toMatchObject({ scheduled: 2, ready: 1, active: 0 });
    expect(b.run({ verb: "getTasks", ids: ["a"] })[0]).toMatchObject({ attempt: 0, runAt: b.at + 100 });
    expect(b.ids()).toEqual([]);
    b.at += 100;
    const [again, other] = b.reserve();
    expect([again, other].map((lease) => [lease?.taskId, lease?.attempt])).toEqual([
      ["a", 1],
      ["c", 1],
    ]);
    b.run({ verb: "cancel", ids: ["c"] });
    snooze(other);
    expect(b.unrecorded()).toEqual(["c cancelled"]);
    snooze(again);
    b.at += 200;
    expect(b.ids()).toEqual(["b"]);
    expect(b.unrecorded()).toEqual(["c cancelled", "a expired"]);
  });
  it("bounded-bytes: stops before there would be more, gives one in any case, and leaves the rest in place", () => {
    const b = new Bench();
    const big = (id: string, length: number, more = {}) => task(id, { payload: "x".repeat(length), ...more });
    b.enqueue(big("a", 50), big("b", 50), big("c", 51), big("d", 1), big("p", 1, { queue: "p" }));
    const take = (maxBytes: number) =>
      b.run({ verb: "reserve", queues: ["q", "p"], limit: 10, leaseMs: 1_000, worker: "w", maxBytes });
    const [a, second] = take(100);
    expect([a?.taskId, second?.taskId]).toEqual(["a", "b"]);
    expect(take(10).map(({ taskId }) => taskId)).toEqual(["c"]);
    b.enqueue(task("child", { payload: "", dependencies: [{ taskId: "a", onFailure: "run" }] }), big("e", 1));
    b.complete(a, "v".repeat(20));
    // One character of "d", none and twenty of its dependency's value of "child", one more of "e".
    expect(take(20).map(({ taskId }) => taskId)).toEqual(["d"]);
    expect(take(21).map(({ taskId }) => taskId)).toEqual(["child", "e"]);
    expect(take(20).map(({ taskId }) => taskId)).toEqual(["p"]);
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
  it("deduplicate: a holder that is over holds its key only inside a window; one that expired not even there", () => {
    const b = new Bench();
    const key = (more: object = {}) => ({ deduplicate: { key: "k", mode: "keep" as const, ...more } });
    b.enqueue(task("a", key()));
    b.run({ verb: "cancel", ids: ["a"] });
    expect(b.enqueue(task("b", key()))).toEqual(["enqueued"]);
    // Recorded later, it does not take the key of the next one.
    b.recordAll();
    expect(b.enqueue(task("c", key()))).toEqual(["deduplicated"]);
    b.run({ verb: "cancel", ids: ["b"] });
    expect(b.enqueue(task("w", key({ windowMs: 1_000 })))).toEqual(["enqueued"]);
    b.run({ verb: "cancel", ids: ["w"] });
    expect(b.enqueue(task("d", key()))).toEqual(["deduplicated"]);
    b.recordAll();
    expect(b.enqueue(task("d", key()))).toEqual(["deduplicated"]);
    b.at += 1_000;
    // Late, and nobody has decided it.
    expect(b.enqueue(task("late", { ...key({ windowMs: 1_000 }), expiresInMs: 10 }))).toEqual(["enqueued"]);
    b.at += 10;
    expect(b.enqueue(task("e", { ...key(), group: { key: "g", limit: 1 } }))).toEqual(["enqueued"]);
    expect(b.ids()).toEqual(["e"]);
    expect(b.unrecorded()).toEqual(["late expired"]);
    b.recordAll();
    expect(b.enqueue(task("f", key()))).toEqual(["deduplicated"]);
  });
  it("deduplicate: whatever an expired holder ends as, its window ends with it", () => {
    const key = (id: string, more: object = {}) =>
      task(id, { deduplicate: { key: "k", mode: "keep", windowMs: 60_000 }, ...more });
    for (const verb of ["cancel", "remove", "sweep", "reserve"] as const) {
      const b = new Bench();
      b.enqueue(key("a", { expiresInMs: 10 }));
      b.at += 10;
      if (verb === "sweep") b.run({ verb, limit: 10 });
      else if (verb === "reserve") b.reserve();
      else b.run({ verb, ids: ["a"] });
      b.recordAll();
      expect(b.enqueue(key("b")), verb).toEqual(["enqueued"]);
    }
  });
  it("deduplicate: in one call, who is born expired holds nothing, and dependents find the right task", () => {
    const b = new Bench();
    const key = { deduplicate: { key: "k", mode: "keep" as const } };
    expect(
      b.enqueue(
        task("late", { ...key, expiresAt: 1 }),
        task("next", key),
        task("same", key),
        task("child", { dependencies: [{ taskId: "same", onFailure: "run" }] }),
      ),
    ).toEqual(["enqueued", "enqueued", "deduplicated", "enqueued"]);
    expect(b.run({ verb: "getTasks", ids: ["child"] })[0]?.dependencies).toEqual(["next"]);
  });
  it("deduplicate: an id that was freed and stands for another task is no holder", () => {
    const b = new Bench();
    const deduplicate = { key: "k", mode: "replace" as const, windowMs: 60_000 };
    b.enqueue(task("a", { deduplicate }));
    b.run({ verb: "remove", ids: ["a"] });
    b.enqueue(task("a", { payload: "another" }));
    expect(b.enqueue(task("b", { deduplicate }))).toEqual(["enqueued"]);
    expect(b.run({ verb: "getTasks", ids: ["a"] })[0]?.payload).toBe("another");
  });
  it("deduplicate: replace of a holder that waits for its retry gives the new input its full attempts", () => {
    const b = new Bench();
    const deduplicate = { key: "k", mode: "replace" as const };
    b.enqueue(task("a", { deduplicate, maxAttempts: 2, group: { key: "g", limit: 1 } }));
    const [lease] = b.reserve();
    b.run({ verb: "extend", leases: [{ ...lease!, progress: "half" }], leaseMs: 1_000 });
    b.retry(lease, 500);
    expect(b.enqueue(task("x", { deduplicate, maxAttempts: 2, expiresInMs: 100 }))).toEqual(["replaced"]);
    const replaced = b.run({ verb: "getTasks", ids: ["a"] })[0];
    expect(replaced).toMatchObject({ state: "ready", attempt: 0, expiries: 0 });
    expect([replaced?.error, replaced?.progress, replaced?.startedAt]).toEqual([undefined, undefined, undefined]);
    b.retry(b.reserve()[0]);
    expect(b.stateOf("a")).toBe("ready");
  });
  it("remove frees ids: of what was there, and of what is only remembered", () => {
    const b = new Bench();
    b.enqueue(task("a"), task("b"), task("c"), task("d", { rememberMs: 0 }), task("e"));
    expect(b.run({ verb: "remove", ids: ["a", "a", "zz"] })).toEqual(["removed", "unknown", "unknown"]);
    expect(b.enqueue(task("a"))).toEqual(["enqueued"]);
    b.run({ verb: "cancel", ids: ["b"] });
    b.recordAll();
    expect(b.enqueue(task("b"))).toEqual(["duplicate"]);
    expect(b.run({ verb: "remove", ids: ["b", "b"] })).toEqual(["freed", "unknown"]);
    expect(b.enqueue(task("b"))).toEqual(["enqueued"]);
    const [c, d] = b.reserve(2);
    b.complete(c);
    b.complete(d);
    expect(b.enqueue(task("d"))).toEqual(["enqueued"]);
    b.at += 10_000;
    expect(b.run({ verb: "remove", ids: [c!.taskId] })).toEqual(["unknown"]);
    expect(b.run({ verb: "purge", queue: "q", states: ["ready"] })).toBe(4);
    expect(b.enqueue(task("b"))).toEqual(["enqueued"]);
  });
  it("retry: waits for dependencies that are live or retried with it, in whatever order, and takes what is given", () => {
    const outcome = (taskId: string, run: number, value: string) =>
      ({ taskId, run, attempt: 1, status: "completed", value, finishedAt: 1 }) as const;
    for (const order of [
      ["parent", "dep"],
      ["dep", "parent"],
    ]) {
      const b = new Bench();
      b.enqueue(
        task("other"),
        task("dep"),
        task("parent", {
          dependencies: [
            { taskId: "dep", onFailure: "fail" },
            { taskId: "other", onFailure: "run" },
          ],
        }),
      );
      const [other, dep] = b.reserve();
      b.complete(other, "old");
      b.fail(dep);
      b.recordAll();
      expect(
        b.run({ verb: "retry", ids: order, outcomes: [outcome("other", 2, "new"), outcome("dep", 9, "no")] }),
      ).toEqual(["retried", "retried"]);
      expect(b.counts()).toMatchObject({ blocked: 1, ready: 1, failed: 0, unrecorded: 0 });
      const [again] = b.reserve();
      expect(again).toMatchObject({ taskId: "dep", run: 2 });
      b.complete(again, "right");
      const [parent] = b.reserve();
      expect(parent?.dependencies.map(({ taskId, run, value }) => [taskId, run, value])).toEqual([
        ["dep", 2, "right"],
        ["other", 2, "new"],
      ]);
      b.fail(parent);
      // An older run changes nothing.
      b.run({ verb: "retry", ids: ["parent"], outcomes: [outcome("dep", 1, "stale")] });
      expect(b.reserve()[0]?.dependencies[0]?.value).toBe("right");
    }
  });
  it("retry: a dead letter that is not retried counts as over; one that fails again fails its dependent again", () => {
    const b = new Bench();
    b.enqueue(
      task("d1"),
      task("d2"),
      task("parent", {
        dependencies: [
          { taskId: "d1", onFailure: "fail" },
          { taskId: "d2", onFailure: "fail" },
        ],
      }),
    );
    for (const lease of b.reserve()) b.fail(lease);
    b.recordAll();
    // By itself it runs, with what it has.
    b.run({ verb: "retry", ids: ["parent"] });
    const [alone] = b.reserve();
    expect(alone?.dependencies.map(({ status }) => status)).toEqual(["failed", "failed"]);
    b.fail(alone);
    b.run({ verb: "retry", ids: ["parent", "d2"] });
    b.complete(b.reserve()[0], "v");
    const [mixed] = b.reserve();
    expect(mixed?.dependencies.map(({ taskId, status }) => [taskId, status])).toEqual([
      ["d1", "failed"],
      ["d2", "completed"],
    ]);
    b.fail(mixed);
    b.run({ verb: "retry", ids: ["parent", "d1"] });
    b.fail(b.reserve()[0]);
    expect(b.unrecorded()).toEqual(["parent failed"]);
  });
  it("retry: who waits for one dependency is freed and failed in one order, whatever was retried before", () => {
    const b = new Bench();
    const on = (...ids: string[]) => ({ dependencies: ids.map((taskId) => ({ taskId, onFailure: "fail" as const })) });
    b.enqueue(task("slow"), task("bad"), task("p1", on("bad", "slow")), task("p2", on("slow")));
    const [slow, bad] = b.reserve();
    b.fail(bad);
    b.recordAll();
    b.run({ verb: "retry", ids: ["p1"] });
    b.fail(slow);
    expect(b.unrecorded()).toEqual(["p1 failed", "p2 failed"]);
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
