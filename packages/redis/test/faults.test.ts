// Faults of the server: killed and restarted, full, silent, emptied, failed over. What was acknowledged stays, and work goes on by itself.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, test } from "vitest";
import { isOmniQError, type Lease, type NewTask, type TaskQueue } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { freePort, Node, startNode } from "./nodes.ts";
import { Proxy } from "./server.ts";

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of clean.splice(0).reverse()) await undo();
});
function own(node: Node): Node {
  clean.push(() => node.remove());
  return node;
}
function open(options: Parameters<typeof redis>[0]): RedisBackend {
  const backend = redis(options);
  clean.push(() => backend.close());
  return backend;
}
function task(id: string, payload = "p"): NewTask {
  return {
    id,
    name: "n",
    queue: "q",
    payload,
    envelope: "e".repeat(40),
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 60_000,
    rememberMs: 60_000,
  };
}
const reserve = (queue: TaskQueue, limit = 10, waitMs = 0): Promise<readonly Lease[]> =>
  queue.reserve({ queues: ["q"], limit, leaseMs: 30_000, waitMs, worker: "w" });
const completed = ({ taskId, queue, token, run, attempt }: Lease) =>
  ({ taskId, queue, token, run, attempt, outcome: "completed", storeResult: true, value: "v" }) as const;
/** Calls until the server is back; any other failure counts. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!(isOmniQError(error) && error.retryable) || tries > 100) throw error;
      await sleep(100);
    }
  }
}

test("a server that is killed and started again with its append-only file has all that was acknowledged", async () => {
  const node = own(await startNode("--appendonly", "yes", "--appendfsync", "always"));
  const backend = open({ url: node.url });
  const queue = backend.taskQueue();
  for (let n = 0; n < 20; n++) await queue.enqueue([{ tasks: [task(`a${n}`)] }]);
  const leases = await reserve(queue);
  await queue.settle(leases.slice(0, 5).map(completed));
  const waiting = reserve(open({ url: node.url }).taskQueue(), 1, 20_000).then(
    () => undefined,
    (error: unknown) => error,
  );
  await sleep(100);
  await node.kill();
  await node.start();
  await waiting;
  assert.deepEqual(
    await patiently(() => queue.settle(leases.map(completed))),
    leases.map(() => "settled"),
  );
  const ids = (await patiently(() => reserve(queue, 20))).map((lease) => lease.taskId);
  const results = await backend.resultStorage().get(leases.map((lease) => lease.taskId));
  assert.ok(results.every((result) => result?.value === "v"));
  // One of the ten others is with the worker that waited.
  assert.ok(ids.length >= 9 && ids.every((id) => !leases.some((lease) => lease.taskId === id)));
});

test("a full server refuses to enqueue with OMNIQ_BACKEND_FULL, and drains", async () => {
  const node = own(await startNode("--maxmemory", "8mb", "--maxmemory-policy", "noeviction"));
  const backend = open({ url: node.url });
  const queue = backend.taskQueue();
  const payload = "x".repeat(20_000);
  let stored = 0;
  await assert.rejects(
    async () => {
      for (; stored < 2_000; stored++) await queue.enqueue([{ tasks: [task(`f${stored}`, payload)] }]);
    },
    (error) => isOmniQError(error, "OMNIQ_BACKEND_FULL") && error.retryable,
  );
  assert.ok(stored > 10);
  assert.equal((await queue.counts(["q"]))["q"]?.ready, stored);
  let drained = 0;
  for (;;) {
    const leases = await reserve(queue, 10);
    if (leases.length === 0) break;
    assert.deepEqual(
      await queue.extend(leases, 30_000).then((states) => states.map(({ state }) => state)),
      leases.map(() => "held"),
    );
    assert.deepEqual(
      await queue.settle(leases.map(completed)),
      leases.map(() => "settled"),
    );
    drained += leases.length;
  }
  assert.equal(drained, stored);
  await queue.enqueue([{ tasks: [task("after")] }]);
  assert.deepEqual(
    (await reserve(queue)).map((lease) => lease.taskId),
    ["after"],
  );
});

test(
  "a network that swallows everything is noticed, and work goes on when it is back",
  { timeout: 60_000 },
  async () => {
    const node = own(await startNode());
    const proxy = await Proxy.start(node.url);
    clean.push(() => proxy.stop());
    const queue = open({ url: proxy.url }).taskQueue();
    await queue.enqueue([{ tasks: [task("before")] }]);
    proxy.swallows = true;
    await assert.rejects(queue.enqueue([{ tasks: [task("during")] }]), (error) =>
      isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN"),
    );
    proxy.swallows = false;
    proxy.cut();
    await patiently(() => queue.enqueue([{ tasks: [task("after")] }]));
    const ids = (await patiently(() => reserve(queue))).map((lease) => lease.taskId);
    assert.deepEqual(
      ids.filter((id) => id !== "during"),
      ["before", "after"],
    );
  },
);

test("a server that was emptied takes tasks whose kinds it had, whole", async () => {
  const node = own(await startNode());
  const queue = open({ url: node.url }).taskQueue();
  for (let n = 0; n < 10; n++) await queue.enqueue([{ tasks: [task(`a${n}`)] }]);
  await sleep(50);
  const client = new Redis(node.url, { protocol: 2 });
  clean.push(() => client.disconnect());
  assert.equal(await client.hlen("{omniq}:v"), 1);
  await queue.enqueue([{ tasks: [task("shared")] }]);
  assert.ok((await client.hget("{omniq}:t", "shared"))?.startsWith("p"));
  await client.flushall();
  await queue.enqueue([{ tasks: [task("b")] }]);
  const [lease] = await reserve(open({ url: node.url }).taskQueue());
  assert.equal(lease?.task.envelope, "e".repeat(40));
});

test("the short way of one plain task stores no id a second time, whether its task waits, is leased or is done", async () => {
  const node = own(await startNode());
  const queue = open({ url: node.url }).taskQueue();
  for (let n = 0; n < 10; n++) await queue.enqueue([{ tasks: [task(`a${n}`)] }]);
  await sleep(50);
  const [done, leased] = await reserve(queue, 2);
  await queue.settle([completed(done as Lease)]);
  for (const id of [(done as Lease).taskId, (leased as Lease).taskId, "a9"]) {
    const answers = await queue.enqueue([{ tasks: [task(id, "other")] }]);
    assert.deepEqual(answers, [{ state: "accepted", receipts: [{ id, state: "duplicate" }] }]);
  }
  const rest = await reserve(queue);
  assert.deepEqual(
    rest.map(({ taskId, task: { payload } }) => [taskId, payload]),
    [2, 3, 4, 5, 6, 7, 8, 9].map((n) => [`a${n}`, "p"]),
  );
});

test("a Sentinel's fail-over is followed", { timeout: 90_000 }, async () => {
  const master = own(await startNode());
  const replica = own(
    await startNode("--replicaof", "127.0.0.1", String(master.port), "--repl-diskless-sync-delay", "0"),
  );
  const client = new Redis(replica.url, { protocol: 2 });
  clean.push(() => client.disconnect());
  for (let tries = 0; !(await client.info("replication")).includes("master_link_status:up"); tries++) {
    assert.ok(tries < 300);
    await sleep(50);
  }
  const sentinel = own(new Node(await freePort(), []));
  await sentinel.startSentinel(
    [
      `sentinel monitor omniq 127.0.0.1 ${master.port} 1`,
      "sentinel down-after-milliseconds omniq 500",
      "sentinel failover-timeout omniq 3000",
    ].join("\n"),
  );
  const watch = new Redis(sentinel.port, { protocol: 2 });
  clean.push(() => watch.disconnect());
  for (let tries = 0; ((await watch.call("SENTINEL", "replicas", "omniq")) as unknown[]).length === 0; tries++) {
    assert.ok(tries < 600);
    await sleep(50);
  }
  const queue = open({ sentinels: [`127.0.0.1:${sentinel.port}`], name: "omniq", waitReplicas: 1 }).taskQueue();
  for (let n = 0; n < 10; n++) await queue.enqueue([{ tasks: [task(`s${n}`)] }]);
  await master.kill();
  const after = open({ sentinels: [`127.0.0.1:${sentinel.port}`], name: "omniq" }).taskQueue();
  const leases = await patiently(() => reserve(after));
  assert.deepEqual(
    leases.map((lease) => lease.taskId),
    Array.from({ length: 10 }, (_, n) => `s${n}`),
  );
  assert.deepEqual(
    await patiently(() => after.settle(leases.map(completed))),
    leases.map(() => "settled"),
  );
});

test("a server that evicts is warned about once", async () => {
  const node = own(await startNode("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"));
  const warnings: string[] = [];
  const listen = (warning: Error & { code?: string }): void => void warnings.push(warning.code ?? "");
  process.on("warning", listen);
  clean.push(() => process.off("warning", listen));
  await open({ url: node.url, prefix: "one" }).check();
  await open({ url: node.url, prefix: "two" }).check();
  await sleep(20);
  assert.deepEqual(
    warnings.filter((code) => code === "OMNIQ_REDIS_EVICTS"),
    ["OMNIQ_REDIS_EVICTS"],
  );
});

test("a client of the user's is used, and left open; one with a key prefix of its own is refused", async () => {
  const node = own(await startNode());
  const client = new Redis(node.url, { protocol: 2 });
  clean.push(() => client.disconnect());
  const backend = open({ client });
  const queue = backend.taskQueue();
  const waiting = reserve(queue, 1, 10_000);
  await sleep(50);
  await queue.enqueue([{ tasks: [task("mine")] }]);
  assert.equal((await waiting)[0]?.taskId, "mine");
  await backend.close();
  assert.equal(await client.ping(), "PONG");
  const prefixed = new Redis(node.url, { keyPrefix: "x:", lazyConnect: true });
  assert.throws(
    () => redis({ client: prefixed }),
    (error) => isOmniQError(error, "OMNIQ_CONFIG_INVALID"),
  );
});

test("pages of results miss none and repeat none, though one batch settled plain tasks and others", async () => {
  const backend = open({ url: own(await startNode()).url });
  const queue = backend.taskQueue();
  const held = { deduplicate: { key: "k", mode: "keep" } } as const;
  await queue.enqueue([{ tasks: [{ ...task("held"), ...held }, task("plain"), task("plain-too")] }]);
  await queue.settle((await reserve(queue)).map(completed));
  const seen: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await backend.resultStorage().list({}, { limit: 1, cursor });
    seen.push(...page.items.map((result) => result.taskId));
    cursor = page.next;
  } while (cursor !== undefined);
  assert.deepEqual(seen.toSorted(), ["held", "plain", "plain-too"]);
});

test("pages of thousands of results of one minute, with marks of retries and keys between them, have each once", async () => {
  const backend = open({ url: own(await startNode()).url });
  const queue = backend.taskQueue();
  const ids: string[] = [];
  for (let batch = 0; batch < 12; batch++) {
    const tasks = Array.from({ length: 250 }, (_, index): NewTask => {
      const one = task(`t${String(batch * 250 + index).padStart(5, "0")}`);
      return index % 7 === 0 ? { ...one, deduplicate: { key: one.id, mode: "keep", windowMs: 60_000 } } : one;
    });
    await queue.enqueue([{ tasks }]);
    const first = await reserve(queue, 250);
    // Each settlement of a retry leaves a mark in the same lists, hundreds of them one after the other.
    const retried = first.map((lease) => ({ ...completed(lease), outcome: "retry" as const, delayMs: 0, error: "e" }));
    await queue.settle(retried.slice(0, 200));
    await queue.settle(first.slice(200).map(completed));
    await queue.settle((await reserve(queue, 250)).map(completed));
    ids.push(...tasks.map(({ id }) => id));
  }
  for (const limit of [1_000, 333, 100]) {
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = await backend.resultStorage().list({}, { limit, cursor });
      seen.push(...page.items.map((result) => result.taskId));
      cursor = page.next;
    } while (cursor !== undefined);
    assert.deepEqual(seen.toSorted(), ids);
  }
}, 60_000);
