// The history checker on hand-made histories: good ones pass, and each bad one is caught under its rule.
import { describe, expect, test } from "vitest";
import { checkHistory, type CheckOptions, type HistoryRecord, type RecordedTask } from "@omniq/conformance";

const at = (sentAt: number, answeredAt = sentAt + 1, process = "p") => ({ process, sentAt, answeredAt });
const enqueue = (
  time: number,
  task: Partial<RecordedTask> = {},
  receipt: "enqueued" | "duplicate" = "enqueued",
): HistoryRecord => ({
  ...at(time),
  verb: "enqueue",
  task: { id: "a", queue: "q", ...task },
  receipt,
});
const reserve = (
  time: number,
  token: string,
  given: { id?: string; attempt?: number; run?: number; process?: string; queue?: string; leaseMs?: number } = {},
): HistoryRecord => ({
  ...at(time, time + 1, given.process ?? "p"),
  verb: "reserve",
  queues: ["q"],
  limit: 1,
  leaseMs: given.leaseMs ?? 100,
  leases: [
    { taskId: given.id ?? "a", queue: given.queue ?? "q", token, run: given.run ?? 1, attempt: given.attempt ?? 1 },
  ],
});
const settle = (
  time: number,
  token: string,
  given: {
    id?: string;
    outcome?: "completed" | "failed" | "retry" | "release";
    state?: "settled" | "lost";
    run?: number;
  } = {},
): HistoryRecord => ({
  ...at(time),
  verb: "settle",
  taskId: given.id ?? "a",
  token,
  run: given.run ?? 1,
  outcome: given.outcome ?? "completed",
  state: given.state ?? "settled",
});
const extend = (time: number, token: string, state: "held" | "lost", leaseMs = 100): HistoryRecord => ({
  ...at(time),
  verb: "extend",
  taskId: "a",
  token,
  leaseMs,
  state,
});
const remaining = (time: number, ...taskIds: string[]): HistoryRecord => ({ ...at(time), verb: "remaining", taskIds });
const rulesOf = (records: readonly HistoryRecord[], options?: CheckOptions): string[] =>
  checkHistory(records, options).map((violation) => violation.rule);

describe("good histories", () => {
  const good: Record<string, readonly HistoryRecord[]> = {
    nothing: [],
    "one task from end to end": [
      enqueue(0),
      reserve(10, "1"),
      extend(50, "1", "held"),
      settle(120, "1"),
      settle(130, "1"),
      remaining(200),
    ],
    "redelivery after expiry, and the first one is lost": [
      enqueue(0),
      reserve(10, "1"),
      reserve(150, "2"),
      settle(160, "1", { state: "lost" }),
      settle(170, "2"),
      remaining(200),
    ],
    "a retry charges, a release refunds": [
      enqueue(0),
      reserve(10, "1"),
      settle(20, "1", { outcome: "release" }),
      reserve(30, "2"),
      settle(40, "2", { outcome: "retry" }),
      reserve(50, "3", { attempt: 2 }),
      settle(60, "3"),
    ],
    "calls that overlap in time may have been in either order": [
      enqueue(0),
      {
        ...at(10, 200),
        verb: "settle",
        taskId: "a",
        token: "1",
        run: 1,
        outcome: "release",
        state: "settled",
      } as HistoryRecord,
      reserve(5, "1"),
      reserve(12, "2"),
      settle(20, "2"),
    ],
    "a second run after a retried dead letter": [
      enqueue(0),
      reserve(10, "1"),
      settle(20, "1", { outcome: "failed" }),
      { ...at(30), verb: "retry", taskId: "a", state: "retried" },
      reserve(40, "2", { run: 2 }),
      settle(50, "2", { run: 2 }),
    ],
  };
  for (const [name, records] of Object.entries(good)) test(name, () => expect(checkHistory(records)).toEqual([]));
});

describe("bad histories", () => {
  const bad: Record<string, readonly [string, readonly HistoryRecord[], CheckOptions?]> = {
    "two hold one task at once": ["lease-excludes", [enqueue(0), reserve(10, "1"), reserve(20, "2", { process: "r" })]],
    "one token twice": ["lease-excludes", [enqueue(0), reserve(10, "1"), reserve(300, "1")]],
    "held through an extension": [
      "lease-excludes",
      [enqueue(0), reserve(10, "1"), extend(90, "1", "held"), reserve(150, "2")],
    ],
    "settled by a token that nobody had": ["settle-fenced", [enqueue(0), reserve(10, "1"), settle(20, "other")]],
    "ended by two": [
      "settle-fenced",
      [enqueue(0), reserve(10, "1"), reserve(200, "2"), settle(210, "2"), settle(220, "1")],
    ],
    "handed out after its end": ["settle-fenced", [enqueue(0), reserve(10, "1"), settle(20, "1"), reserve(30, "2")]],
    "lost while held": ["settle-fenced", [enqueue(0), reserve(10, "1"), settle(20, "1", { state: "lost" })]],
    "extension lost while held": ["settle-fenced", [enqueue(0), reserve(10, "1"), extend(20, "1", "lost")]],
    "extended after it was settled": [
      "settle-fenced",
      [enqueue(0), reserve(10, "1"), settle(20, "1"), extend(30, "1", "held")],
    ],
    "completed and still there": ["settle-fenced", [enqueue(0), reserve(10, "1"), settle(20, "1"), remaining(50, "a")]],
    "enqueued twice": ["enqueue-idempotent", [enqueue(0), enqueue(5)]],
    "acknowledged and gone": ["enqueue-durable", [enqueue(0), remaining(50)]],
    "there without an enqueue": ["enqueue-atomic", [remaining(50, "ghost")]],
    "handed out without an enqueue": ["enqueue-atomic", [reserve(10, "1")]],
    "before it was due": ["no-early-delivery", [enqueue(0, { runAt: 1_000 }), reserve(10, "1")]],
    "a release was charged": [
      "release-refunds",
      [enqueue(0), reserve(10, "1"), settle(20, "1", { outcome: "release" }), reserve(30, "2", { attempt: 2 })],
    ],
    "an expiry was charged": [
      "lease-expiry-redelivers",
      [enqueue(0), reserve(10, "1"), reserve(200, "2", { attempt: 2 })],
    ],
    "a group over its limit": [
      "group-limit",
      [
        enqueue(0, { group: { key: "g", limit: 1 } }),
        enqueue(0, { id: "b", group: { key: "g", limit: 1 } }),
        reserve(10, "1"),
        reserve(20, "2", { id: "b" }),
      ],
    ],
    "a queue over its limit": [
      "queue-limit",
      [enqueue(0), enqueue(0, { id: "b" }), reserve(10, "1"), reserve(20, "2", { id: "b" })],
      { maxActive: { q: 1 } },
    ],
    "a paused queue hands out": ["pause", [enqueue(0), { ...at(5), verb: "pause", queue: "q" }, reserve(10, "1")]],
    "the lower priority first": [
      "order",
      [enqueue(0, { priority: 9 }), enqueue(0, { id: "b" }), reserve(10, "1", { id: "b" }), reserve(20, "2")],
    ],
    "from another queue": ["order", [enqueue(0), reserve(10, "1", { queue: "elsewhere" })]],
    "before its dependency": [
      "dependencies",
      [
        enqueue(0),
        enqueue(0, { id: "b", dependencies: [{ taskId: "a", onFailure: "fail" }] }),
        reserve(10, "1", { id: "b" }),
      ],
    ],
    "a run that nobody started": ["dead-letter", [enqueue(0), reserve(10, "1", { run: 2 })]],
    "two results stand": [
      "result-first-wins",
      [
        { ...at(0), verb: "put", result: { taskId: "a", run: 1, value: "x" }, stands: { run: 1, value: "x" } },
        { ...at(5), verb: "put", result: { taskId: "a", run: 1, value: "y" }, stands: { run: 1, value: "y" } },
      ],
    ],
    "a lower run stands": [
      "result-first-wins",
      [{ ...at(0), verb: "put", result: { taskId: "a", run: 2, value: "x" }, stands: { run: 1, value: "y" } }],
    ],
  };
  for (const [name, [rule, records, options]] of Object.entries(bad))
    test(`${rule}: ${name}`, () => expect(rulesOf(records, options)).toContain(rule));
});
