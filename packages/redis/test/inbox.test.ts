// The inbox: what goes into it by a command of its own is a task like any other to whoever looks, takes or changes, and is so once.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, test } from "vitest";
import type { Lease, NewTask, TaskQueue } from "@omniq/core";
import { redis } from "@omniq/redis";
import { startNode, type Node } from "./nodes.ts";
import { task } from "./tasks.ts";

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of clean.splice(0).reverse()) await undo();
});

/** A server of the test's own, one client of the adapter that enqueues by the inbox, and one that looks on. */
class World {
  readonly node: Node;
  readonly admin: Redis;
  readonly queue: TaskQueue;

  private constructor(node: Node, admin: Redis) {
    this.node = node;
    this.admin = admin;
    this.queue = this.open();
  }

  static async start(...options: string[]): Promise<World> {
    const node = await startNode(...options);
    clean.push(() => node.remove());
    const admin = new Redis(node.url);
    clean.push(() => admin.disconnect());
    const world = new World(node, admin);
    await world.warm();
    return world;
  }

  open(): TaskQueue {
    const backend = redis({ url: this.node.url });
    clean.push(() => backend.close());
    return backend.taskQueue();
  }

  /** Enqueues until tasks of this queue go into the inbox, and takes them away again. */
  async warm(queue: string = "q", client: TaskQueue = this.queue): Promise<void> {
    const before = await this.waiting();
    for (let n = 0; (await this.waiting()) === before; n++) {
      assert.ok(n < 50, "tasks of a kind that comes again go into the inbox");
      await this.put(task({ queue }), client);
    }
    await client.purge(queue, ["ready"]);
    assert.equal(await this.waiting(), 0);
  }

  async put(made: NewTask, client: TaskQueue = this.queue): Promise<string> {
    const answer = await client.enqueue([{ tasks: [made], generatedIds: true }]);
    assert.deepEqual(answer, [{ state: "accepted", receipts: [{ id: made.id, state: "enqueued" }] }]);
    return made.id;
  }

  /** The same, and it is in the inbox. */
  async putIn(made: NewTask = task(), client: TaskQueue = this.queue): Promise<string> {
    const before = await this.waiting();
    await this.put(made, client);
    assert.equal(await this.waiting(), before + 1, "it went into the inbox");
    return made.id;
  }

  /** How many tasks stand in the inbox and have no place yet. */
  async waiting(): Promise<number> {
    const [name, at] = await this.admin.hmget("{omniq}:m", "in", "at");
    return name ? (await this.admin.xrange(`{omniq}:in:${name}`, `(${at}`, "+")).length : 0;
  }
}

function take(queue: TaskQueue, given: Partial<Parameters<TaskQueue["reserve"]>[0]> = {}): Promise<readonly Lease[]> {
  return queue.reserve({ queues: ["q"], limit: 100, leaseMs: 60_000, waitMs: 0, worker: "w", ...given });
}

function complete(queue: TaskQueue, { taskId, token, run, attempt }: Lease): ReturnType<TaskQueue["settle"]> {
  const outcome = { outcome: "completed", value: "1", storeResult: false } as const;
  return queue.settle([{ taskId, queue: "q", token, run, attempt, ...outcome }]);
}

const ids = (leases: readonly Lease[]): string[] => leases.map(({ taskId }) => taskId);

test("tasks are reserved in the order of their enqueue, whichever way they came, with text and time of then", async () => {
  const world = await World.start();
  const { queue } = world;
  const other = world.open();
  const payloads = ["", "a\0b", "ünï 𝕌", '"\\\r\n', "x".repeat(4_096)];
  const expected: string[] = [];
  const at = Date.now();
  for (const payload of payloads) {
    expected.push(await world.putIn(task({ payload })));
    const given = task({ payload: "given" });
    await other.enqueue([{ tasks: [given] }]);
    expected.push(given.id);
  }
  const last = await world.putIn(task({ payload: "last" }));
  expected.push(last);
  await sleep(300);
  const leases = await take(other);
  assert.deepEqual(ids(leases), expected);
  assert.deepEqual(
    leases.filter((_, index) => index % 2 === 0 && index < 10).map((lease) => lease.task.payload),
    payloads,
  );
  const times = leases.map((lease) => lease.task.enqueuedAt);
  assert.deepEqual(
    times,
    times.toSorted((one, two) => one - two),
  );
  assert.ok((times.at(-1) as number) < Date.now() - 250, "the time is that of the enqueue, not of who took it in");
  assert.ok((times[0] as number) > at - 1_000);
  assert.deepEqual(await queue.get(expected.slice(0, 1)).then(([one]) => one?.state), "active");
});

const looks: readonly [string, (queue: TaskQueue, id: string) => Promise<unknown>, unknown][] = [
  ["get", async (queue, id) => (await queue.get([id]))[0]?.state, "ready"],
  [
    "list",
    async (queue, id) => (await queue.list({ queue: "q" }, { limit: 10 })).items.map((one) => one.id === id),
    [true],
  ],
  ["counts", async (queue) => (await queue.counts(["q"]))["q"]?.ready, 1],
  ["cancel", async (queue, id) => await queue.cancel([id]), ["cancelled"]],
  ["remove", async (queue, id) => await queue.remove([id]), ["removed"]],
  ["retry", async (queue, id) => await queue.retry([id]), ["unknown"]],
  ["purge", async (queue) => await queue.purge("q", ["ready"]), 1],
  ["an enqueue of the same id", async (queue, id) => await queue.enqueue([{ tasks: [task({ id })] }]), "duplicate"],
  [
    "many of them",
    async (queue, id) => await queue.enqueue([{ tasks: [task({ id })] }, { tasks: [task({ id })] }]),
    "duplicate",
  ],
  ["one with options", async (queue, id) => await queue.enqueue([{ tasks: [task({ id, priority: 3 })] }]), "duplicate"],
  [
    "one that depends on it",
    async (queue, id) => {
      const dependencies = [{ taskId: id, onFailure: "fail" }] as const;
      const [answer] = await queue.enqueue([{ tasks: [task({ queue: "other", dependencies })] }]);
      return answer?.state;
    },
    "accepted",
  ],
];

test("whoever looks for a task or changes it finds it", async () => {
  const world = await World.start();
  for (const [name, look, expected] of looks) {
    const id = await world.putIn();
    const found = await look(world.open(), id);
    if (expected === "duplicate") {
      for (const answer of found as readonly { receipts: readonly unknown[] }[])
        assert.deepEqual(answer.receipts, [{ id, state: "duplicate" }], name);
    } else assert.deepEqual(found, expected, name);
    assert.equal(await world.waiting(), 0, `${name}: it has its place`);
    await world.queue.purge("q", ["ready"]);
  }
});

test("each way of reserving takes it: plain, by several queues, under limits, paused, and with a settlement", async () => {
  const world = await World.start();
  const { queue } = world;
  await world.warm("other");
  const first = await world.putIn();
  const elsewhere = await world.putIn(task({ queue: "other" }));
  const second = await world.putIn();
  const [one] = await take(queue, { limit: 1 });
  assert.equal(one?.taskId, first);
  const both = await queue.settleAndReserve(
    [{ ...(one as Lease), outcome: "completed", value: "1", storeResult: false }],
    { queues: ["q"], limit: 5, leaseMs: 60_000, waitMs: 0, worker: "w" },
  );
  assert.deepEqual([both.states, ids(both.leases)], [["settled"], [second]]);
  assert.deepEqual(ids(await take(queue, { queues: ["other"] })), [elsewhere]);
  const third = await world.putIn();
  assert.deepEqual(ids(await take(queue, { queues: ["other", "q"] })), [third]);
  await queue.pause("q");
  const fourth = await world.putIn();
  assert.deepEqual(await take(queue), []);
  assert.equal(await world.waiting(), 0);
  await queue.resume("q");
  await queue.configureQueue("q", { maxActive: 4 });
  const fifth = await world.putIn();
  assert.deepEqual(ids(await take(queue)), [fourth, fifth]);
});

test("a worker that waits is woken, and what one does not take wakes the next", async () => {
  const world = await World.start();
  const workers = [world.open(), world.open(), world.open()];
  const started = performance.now();
  const waits = workers.map((worker) => take(worker, { limit: 1, waitMs: 20_000 }));
  await sleep(300);
  const put = [await world.put(task()), await world.put(task()), await world.put(task())];
  const taken = (await Promise.all(waits)).flatMap(ids);
  assert.deepEqual(taken.toSorted(), put.toSorted());
  assert.ok(performance.now() - started < 10_000, "nobody waited for the end of the wait");
  // Three that wake one worker only, which takes one: it wakes the next.
  const again = workers.map((worker) => take(worker, { limit: 1, waitMs: 20_000 }));
  await sleep(300);
  const [kind] = await world.admin.hkeys("{omniq}:v");
  const stream = `{omniq}:in:${await world.admin.hget("{omniq}:m", "in")}`;
  const more = [randomUUID(), randomUUID(), randomUUID()];
  const together = world.admin.multi();
  for (const id of more) together.xadd(stream, "*", `${kind}q`, `${id}p`);
  await together.zadd("{omniq}:w:q", 0, 0).exec();
  assert.deepEqual((await Promise.all(again)).flatMap(ids).toSorted(), more.toSorted());
  assert.ok(performance.now() - started < 10_000, "nobody waited for the end of the wait");
});

test("what is sent again stays one task, waiting, active, and when it is over", async () => {
  const world = await World.start();
  const { queue } = world;
  const again = task({ payload: "first" });
  for (let n = 0; n < 3; n++) await world.put({ ...again, payload: n === 0 ? "first" : "again" });
  const [lease, ...others] = await take(queue);
  assert.deepEqual([lease?.taskId, lease?.task.payload, others], [again.id, "first", []]);
  await world.put(again);
  assert.deepEqual(await take(queue), []);
  assert.deepEqual(await complete(queue, lease as Lease), ["settled"]);
  await world.put(again);
  assert.deepEqual(await take(queue), []);
  assert.equal((await queue.counts(["q"]))["q"]?.ready, 0);
});

test("long payloads go by the script, since those who take in read all that stands there at once", async () => {
  const world = await World.start();
  const id = await world.put(task({ payload: "x".repeat(4_097) }));
  assert.equal(await world.waiting(), 0);
  assert.deepEqual(ids(await take(world.queue)), [id]);
});

test("ids that users give, clients of theirs and calls of several tasks go by the script", async () => {
  const world = await World.start();
  const own = new Redis(world.node.url);
  clean.push(() => own.disconnect());
  const backend = redis({ client: own });
  clean.push(() => backend.close());
  const put: string[] = [];
  for (let n = 0; n < 10; n++) {
    put.push(await world.put(task(), backend.taskQueue()));
    const given = task();
    await world.queue.enqueue([{ tasks: [given] }]);
    const several = [task(), task()];
    await world.queue.enqueue([{ tasks: several, generatedIds: true }]);
    put.push(given.id, ...several.map(({ id }) => id));
    assert.equal(await world.waiting(), 0);
  }
  assert.deepEqual(ids(await take(world.queue)), put);
  await world.putIn();
});

test("the inbox stays short where nobody else runs scripts, and a long one is taken in whole", async () => {
  const world = await World.start();
  const longest = { of: 0 };
  for (let n = 0; n < 600; n++) {
    await world.put(task());
    if (n % 20 === 0) longest.of = Math.max(longest.of, await world.waiting());
  }
  assert.ok(longest.of > 100 && longest.of <= 256, `at most ${longest.of} stood in it`);
  await world.queue.purge("q", ["ready"]);
  const clients = Array.from({ length: 12 }, () => world.open());
  for (const client of clients) await world.warm("q", client);
  const put: string[] = [];
  for (let n = 0; n < 200; n++) for (const client of clients) put.push(await world.put(task(), client));
  assert.ok((await world.waiting()) > 1_000);
  assert.equal((await world.queue.counts(["q"]))["q"]?.ready, put.length);
  const taken: string[] = [];
  for (let leases = await take(world.queue); leases.length > 0; leases = await take(world.queue))
    taken.push(...ids(leases));
  assert.deepEqual(taken, put);
});

test("what was taken in one by one does not pile up", async () => {
  const world = await World.start();
  const stream = `{omniq}:in:${await world.admin.hget("{omniq}:m", "in")}`;
  for (let n = 0; n < 150; n++) {
    await world.putIn();
    assert.equal((await take(world.queue)).length, 1);
    const length = await world.admin.xlen(stream);
    assert.ok(length <= 64, `${length} entries are kept`);
  }
});

test("a server that was emptied is noticed, also when another client has filled it again", async () => {
  const world = await World.start();
  await world.admin.flushall();
  const first = await world.put(task({ payload: "after" }));
  assert.deepEqual(
    (await take(world.open())).map(({ taskId, task: { name, payload } }) => [taskId, name, payload]),
    [[first, "n", "after"]],
  );
  await world.warm();
  await world.admin.flushall();
  const other = world.open();
  await world.warm("elsewhere", other);
  const second = await world.put(task({ payload: "again" }));
  assert.deepEqual(
    (await take(other)).map(({ taskId, task: { name, payload } }) => [taskId, name, payload]),
    [[second, "n", "again"]],
  );
});

test("a server that came back without its latest writes, kinds among them, gets tasks that it can read", async () => {
  const world = await World.start("--appendonly", "yes", "--appendfsync", "no");
  // As after a crash or a fail-over: the inbox is there, what came later is not.
  const name = (await world.admin.hget("{omniq}:m", "in")) as string;
  const [kind] = await world.admin.hkeys("{omniq}:v");
  await world.admin.hdel("{omniq}:v", kind as string);
  await world.admin.hdel("{omniq}:m", kind as string);
  await world.admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  // Until the client has a connection again.
  await sleep(1_000);
  const id = await world.put(task({ payload: "later" }));
  assert.equal(await world.admin.hget("{omniq}:m", "in"), name);
  assert.deepEqual(
    (await take(world.open())).map(({ taskId, task: one }) => [taskId, one.payload]),
    [[id, "later"]],
  );
});

test("a full server refuses, and what stands in its inbox is taken and settled", async () => {
  const world = await World.start("--maxmemory-policy", "noeviction");
  const { queue } = world;
  const put = [await world.putIn(), await world.putIn()];
  await world.admin.config("SET", "maxmemory", "1mb");
  await assert.rejects(world.put(task()), { code: "OMNIQ_BACKEND_FULL", retryable: true });
  assert.equal(
    (await queue.get(put)).every((one) => one?.state === "ready"),
    true,
  );
  const leases = await take(queue);
  assert.deepEqual(ids(leases), put);
  for (const lease of leases) assert.deepEqual(await complete(queue, lease), ["settled"]);
  await world.admin.config("SET", "maxmemory", "0");
  await world.put(task());
});
