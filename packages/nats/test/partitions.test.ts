// Several logs in one namespace: the kit across them, what can't span them, and that nobody replays what it does not serve.
import { randomUUID } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { runSuite } from "@omniq/conformance";
import type { NewTask } from "@omniq/core";
import { nats, type NatsOptions } from "@omniq/nats";
import { afterEach, describe, expect, test } from "vitest";
import { PartitionedTaskQueue } from "../src/partitioned-task-queue.ts";
import { Partitions } from "../src/partitions.ts";
import { kitPartitions, removeStreams, servers } from "./harness.ts";

const prefixes: string[] = [];
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const prefix of prefixes.splice(0)) await removeStreams(prefix);
});
const partitions = { one: ["a", "b"], two: ["c"] };
function fresh(): string {
  const prefix = `omniq_p_${randomUUID().slice(0, 8)}`;
  prefixes.push(prefix);
  return prefix;
}
function open(prefix: string, more: NatsOptions = { partitions }) {
  const backend = nats({ servers, prefix, ...more });
  closers.push(() => backend.close());
  return backend;
}
const task = (id: string, queue: string, more: Partial<NewTask> = {}): NewTask => ({
  id,
  name: "n",
  queue,
  payload: "p",
  envelope: "{}",
  priority: 0,
  maxAttempts: 1,
  resultTtlMs: 60_000,
  rememberMs: 60_000,
  ...more,
});
const request = { limit: 10, leaseMs: 60_000, waitMs: 0, worker: "w" };

describe("the task queue over several logs", () => {
  test("reserves in the order of the queues, settles, and looks by id", async () => {
    const queue = open(fresh()).taskQueue();
    await queue.enqueue(["d", "c", "b", "a"].map((name) => ({ tasks: [task(`t-${name}`, name)] })));
    expect(Object.keys(await queue.counts()).toSorted()).toEqual(["a", "b", "c", "d"]);
    expect((await queue.get(["t-c", "none", "t-a"])).map((each) => each?.queue)).toEqual(["c", undefined, "a"]);
    const leases = await queue.reserve({ ...request, queues: ["c", "a", "d", "b"], limit: 3 });
    expect(leases.map(({ taskId }) => taskId)).toEqual(["t-c", "t-a", "t-d"]);
    expect(await queue.extend(leases, 60_000)).toEqual(leases.map(() => expect.objectContaining({ state: "held" })));
    const { states, leases: more } = await queue.settleAndReserve!(
      leases.map((lease) => ({ ...lease, outcome: "failed", storeResult: true, error: "e" })),
      { ...request, queues: ["a", "b", "c"] },
    );
    expect(states).toEqual(["settled", "settled", "settled"]);
    expect(more.map(({ taskId }) => taskId)).toEqual(["t-b"]);
    expect(await queue.retry(["t-d", "none", "t-c"])).toEqual(["retried", "unknown", "retried"]);
    expect(await queue.cancel(["t-d", "t-b", "none"])).toEqual(["cancelled", "cancelling", "unknown"]);
    expect((await queue.unrecorded(10)).map(({ taskId }) => taskId)).toEqual(["t-d"]);
    await queue.record([{ taskId: "t-d", run: 2 }]);
    expect(await queue.remove(["t-a", "t-b", "t-d"])).toEqual(["removed", "busy", "freed"]);
  });

  test("a partition that fails takes nothing of what another gave", async () => {
    const [one, two] = [open(fresh(), {}), open(fresh(), {})];
    const queue = new PartitionedTaskQueue([one.taskQueue(), two.taskQueue()], new Partitions({ one: ["a"] }), one);
    await queue.enqueue(["t-0", "t-1", "t-2"].map((id) => ({ tasks: [task(id, "a")] })));
    await two.close();
    const leases = await queue.reserve({ ...request, queues: ["a", "c"] });
    expect(leases.map(({ taskId }) => taskId)).toEqual(["t-0", "t-1", "t-2"]);
    const completed = { ...leases[0]!, outcome: "completed" as const, storeResult: true };
    expect(await queue.settleAndReserve([completed], { ...request, queues: ["c", "a"] })).toEqual({
      states: ["settled"],
      leases: [],
    });
    await expect(queue.reserve({ ...request, queues: ["c", "a"] })).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
    expect((await queue.reserve({ ...request, queues: ["a"] })).map(({ taskId }) => taskId)).toEqual([]);
    expect(await queue.settle(leases.slice(1).map((lease) => ({ ...lease, outcome: "release" as const })))).toEqual([
      "settled",
      "settled",
    ]);
  });

  test("lists and results come in stable pages over all of them", async () => {
    const backend = open(fresh());
    const [queue, results] = [backend.taskQueue(), backend.resultStorage()];
    const names = ["a", "c", "d", "b", "c", "d", "a"];
    await queue.enqueue(names.map((name, n) => ({ tasks: [task(`${n}`, name)] })));
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await queue.list({}, { limit: 2, cursor });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen).toEqual(["0", "3", "6", "1", "4", "2", "5"]);
    await expect(queue.list({}, { cursor: "nonsense" })).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
    const leases = await queue.reserve({ ...request, queues: ["a", "b", "c", "d"] });
    const waiting = results.wait([{ taskId: "4", run: 1 }], 20_000);
    await queue.settle(
      leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: true, value: lease.taskId })),
    );
    expect((await waiting).map(({ value }) => value)).toEqual(["4"]);
    expect((await results.get(["5", "none", "0"])).map((result) => result?.value)).toEqual(["5", undefined, "0"]);
    expect((await results.list({}, { limit: 1_000 })).items).toHaveLength(7);
  });

  test("a waiting reserve wakes for whichever partition has a task, and takes no more than it asked for", async () => {
    const prefix = fresh();
    const [queue, other] = [open(prefix).taskQueue(), open(prefix).taskQueue()];
    for (const name of ["d", "a", "c"]) {
      const waiting = queue.reserve({ ...request, queues: ["a", "c", "d"], limit: 1, waitMs: 30_000 });
      await other.enqueue([{ tasks: [task(`w-${name}`, name)] }]);
      const leases = await waiting;
      expect(leases.map(({ taskId }) => taskId)).toEqual([`w-${name}`]);
      await queue.settle(leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: false })));
    }
    const waiting = queue.reserve({ ...request, queues: ["a", "c"], limit: 1, waitMs: 30_000 });
    await other.enqueue(["a", "c"].map((name) => ({ tasks: [task(`both-${name}`, name)] })));
    expect(await waiting).toHaveLength(1);
    expect(await queue.reserve({ ...request, queues: ["a", "c"], waitMs: 10_000 })).toHaveLength(1);
    const abort = new AbortController();
    const aborted = queue.reserve({ ...request, queues: ["a", "c"], waitMs: 30_000 }, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
  });

  test("what would span partitions is refused, and nothing of it is stored", async () => {
    const queue = open(fresh()).taskQueue();
    const unsupported = { code: "OMNIQ_UNSUPPORTED" };
    await expect(queue.enqueue([{ tasks: [task("x", "a"), task("y", "c")] }])).rejects.toMatchObject(unsupported);
    await queue.enqueue([{ tasks: [task("parent", "a")] }]);
    const dependencies = [{ taskId: "parent", onFailure: "fail" as const }];
    await expect(queue.enqueue([{ tasks: [task("child", "c", { dependencies })] }])).rejects.toMatchObject(unsupported);
    const [answer] = await queue.enqueue([{ tasks: [task("sibling", "b", { dependencies })] }]);
    expect(answer).toMatchObject({ state: "accepted" });
    expect(await queue.get(["x", "y", "child"])).toEqual([undefined, undefined, undefined]);
  });
});

test("the same id in queues of two partitions is two tasks, in queues of one it is one", async () => {
  const queue = open(fresh()).taskQueue();
  const receipt = async (name: string) => {
    const [answer] = await queue.enqueue([{ tasks: [task("same", name)] }]);
    return answer?.state === "accepted" ? answer.receipts[0]?.state : answer?.state;
  };
  expect([await receipt("a"), await receipt("b"), await receipt("c")]).toEqual(["enqueued", "duplicate", "enqueued"]);
});

test("queries of events merge the partitions by time, in stable pages; a tail goes on behind any of them", async () => {
  const events = open(fresh()).eventStorage();
  const base = Date.now() - 1_000;
  const event = (n: number, queue: string) =>
    ({ id: `${n}`, at: base + n, type: "started", taskId: `${n}`, taskName: "n", queue, run: 1, attempt: 1 }) as const;
  const queues = ["a", "c", "d", "c", "b", "d", "a", "a", "c"];
  await events.append(queues.map((queue, n) => event(n, queue)));
  const all = queues.map((_, n) => `${n}`);
  for (const limit of [1, 2, 4, 9, 10]) {
    const seen: string[] = [];
    const filter = { types: ["started" as const] };
    let cursor: string | undefined;
    do {
      const page = await events.query(filter, { limit, cursor });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.next;
    } while (cursor !== undefined);
    expect(seen).toEqual(all);
  }
  const { items, next } = await events.query({}, { limit: 5 });
  await expect(events.query({ queue: "a" }, { cursor: next })).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
  const rest: string[] = [];
  for await (const { id } of events.tail({}, items[4]!.cursor)) {
    rest.push(id);
    if (rest.length === 4) break;
  }
  expect(rest.toSorted()).toEqual(["5", "6", "7", "8"]);
});

test("events of all partitions are queried and followed; a cursor goes on where it was", async () => {
  const events = open(fresh()).eventStorage();
  const event = (id: string, queue: string) =>
    ({ id, at: Date.now(), type: "started", taskId: id, taskName: "n", queue, run: 1, attempt: 1 }) as const;
  await events.append([event("1", "a"), event("2", "c"), event("3", "d")]);
  expect((await events.query({}, { limit: 10 })).items.map(({ id }) => id)).toEqual(["1", "2", "3"]);
  const seen: string[] = [];
  let cursor = "";
  for await (const each of events.tail({}, "start")) {
    seen.push(each.id);
    cursor = each.cursor;
    if (seen.length === 3) break;
  }
  expect(seen.toSorted()).toEqual(["1", "2", "3"]);
  await events.append([event("4", "c")]);
  for await (const each of events.tail({}, cursor)) {
    expect(each.id).toBe("4");
    break;
  }
  await expect(events.tail({}, "nonsense")[Symbol.asyncIterator]().next()).rejects.toMatchObject({
    code: "OMNIQ_INVALID_OPTION",
  });
});

test("the kit's cases across queues, with the queues in four logs", { timeout: 120_000 }, async () => {
  const report = await runSuite({
    adapter: nats,
    options: (prefix) => ({ servers, prefix, partitions: kitPartitions, durabilityWarning: false }),
    cleanUp: removeStreams,
    rules: ["order", "pause", "wake-up", "event-order"],
  });
  expect(report.failed).toEqual([]);
  expect(report.passed).toBeGreaterThanOrEqual(10);
});

test("a worker of one partition has no consumer on the log of another", async () => {
  const prefix = fresh();
  const queue = open(prefix).taskQueue();
  const waiting = queue.reserve({ ...request, queues: ["c"], waitMs: 30_000 });
  await open(prefix)
    .taskQueue()
    .enqueue([{ tasks: [task("c1", "c")] }]);
  expect(await waiting).toHaveLength(1);
  const connection = await connect({ servers });
  closers.push(() => connection.close());
  const manager = await jetstreamManager(connection, { checkAPI: false });
  expect((await manager.streams.info(`${prefix}-log-default`)).state.consumer_count).toBe(0);
  await expect(manager.streams.info(`${prefix}-log-one`)).rejects.toThrow("stream not found");
  expect((await manager.streams.info(`${prefix}-log-two`)).state.consumer_count).toBeGreaterThan(0);
});

test("processes with other partitions are told so, whichever queues they use", async () => {
  const prefix = fresh();
  await open(prefix)
    .taskQueue()
    .enqueue([{ tasks: [task("a1", "a")] }]);
  const invalid = { code: "OMNIQ_CONFIG_INVALID" };
  await expect(open(prefix, {}).taskQueue().counts()).rejects.toMatchObject(invalid);
  const other = open(prefix, { partitions: { one: ["a"], three: ["z"] } }).taskQueue();
  await expect(other.enqueue([{ tasks: [task("z1", "z")] }])).rejects.toMatchObject(invalid);
  // The order in which they are written means nothing.
  const same = open(prefix, { partitions: { two: ["c"], one: ["b", "a"] } }).taskQueue();
  expect((await same.counts(["a"]))["a"]).toMatchObject({ ready: 1 });
});

test.each([
  ["by name", { partitions: ["a"] as never }],
  ["names of partitions", { partitions: { "a.b": ["a"] } }],
  ["twice", { partitions: { one: ["a"], two: ["a"] } }],
  ["by name", { partitions: { one: "a" } as never }],
  ["longer", { partitions: { one: ["q".repeat(4_000)] } }],
] as const)("partitions that can't be used are refused: %s", (what, options) => {
  expect(() => nats(options)).toThrow(
    expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID", message: expect.stringContaining(what) }),
  );
});
