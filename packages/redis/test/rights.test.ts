// Least rights: with the README's command a user can do all that the adapter does, under its own prefix, and nothing else.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { isOmniQError, type Lease, type NewEvent } from "@omniq/core";
import { redis } from "@omniq/redis";
import { sources } from "../src/lua/index.ts";
import { startNode } from "./nodes.ts";
import { task } from "./tasks.ts";

const node = await startNode();
const admin = new Redis(node.url, { protocol: 2 });
afterAll(async () => {
  admin.disconnect();
  await node.remove();
});
const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const command = (/## Rights\n.*?```text\n(.*?)```/su.exec(readme)?.[1] ?? "").replace(/\\\n/gu, " ").trim();
const words = command.split(/\s+/u);
const as = (password: string): string => `redis://omniq:${encodeURIComponent(password)}@127.0.0.1:${node.port}`;

function lease({ taskId, queue, token, run, attempt }: Lease) {
  return { taskId, queue, token, run, attempt };
}
function event(id: string): NewEvent {
  return { id, at: Date.now(), type: "log", taskId: "t", taskName: "n", queue: "q", run: 1, attempt: 1, data: "d" };
}

test("with the README's command every verb works", async () => {
  assert.equal(words.slice(0, 3).join(" "), "ACL SETUSER omniq");
  await admin.call("ACL", ...words.slice(1));
  const backend = redis({ url: as("change-me"), waitReplicas: 0 });
  const second = redis({ url: as("change-me") });
  await backend.check();
  const queue = backend.taskQueue();
  const results = backend.resultStorage();
  const events = backend.eventStorage();
  const schedules = backend.scheduleStorage();
  const reserve = (limit: number, waitMs = 0): Promise<readonly Lease[]> =>
    queue.reserve({ queues: ["q"], limit, leaseMs: 30_000, waitMs, worker: "w" });

  // Twice, since the second plain task goes another way, and the third into the inbox.
  for (let n = 0; n < 4; n++) await queue.enqueue([{ tasks: [task()], generatedIds: true }]);
  await second
    .taskQueue()
    .enqueue([{ tasks: [task({ deduplicate: { key: "k", mode: "keep" } }), task({ priority: 3 })] }]);
  await queue.enqueue([{ tasks: [task({ group: { key: "g", limit: 1 } }), task({ group: { key: "g", limit: 1 } })] }]);
  await queue.enqueue([
    { tasks: [task({ id: "child" }), task({ id: "parent", dependencies: [{ taskId: "child", onFailure: "fail" }] })] },
  ]);
  await queue.enqueue([{ tasks: [task({ id: "later", delayMs: 60_000 }), task({ id: "short", expiresInMs: 1 })] }]);
  const cancels: string[] = [];
  const stop = queue.onCancel((ids) => void cancels.push(...ids));
  const leases = await reserve(100);
  assert.ok(leases.length >= 8, `${leases.length} leases`);
  await queue.extend(
    leases.map((one) => ({ ...lease(one), progress: "1" })),
    30_000,
  );
  await queue.cancel([(leases[0] as Lease).taskId, "later"]);
  const [first, ...rest] = leases.map(lease) as [ReturnType<typeof lease>, ...ReturnType<typeof lease>[]];
  const waited = results.wait([{ taskId: (rest[0] as Lease).taskId, run: 1 }], 5_000);
  await queue.settle([
    { ...first, outcome: "cancelled", storeResult: true, error: "{}" },
    { ...(rest[0] as Lease), outcome: "completed", storeResult: true, value: "v", events: [event("settled")] },
    { ...(rest[1] as Lease), outcome: "failed", storeResult: true, error: "{}" },
    { ...(rest[2] as Lease), outcome: "retry", delayMs: 0, error: "{}" },
    { ...(rest[3] as Lease), outcome: "release", delayMs: 5 },
  ]);
  assert.equal((await waited)[0]?.value, "v");
  const request = { queues: ["q"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "w" };
  const more = await queue.settleAndReserve(
    rest.slice(4).map((one) => ({ ...one, outcome: "completed", storeResult: true, value: "v" }) as const),
    request,
  );
  await queue.settle(more.leases.map((one) => ({ ...lease(one), outcome: "completed", storeResult: false }) as const));
  const failed = (rest[1] as Lease).taskId;
  const waiting = reserve(1, 10_000);
  assert.deepEqual(await queue.retry([failed]), ["retried"]);
  await queue.settle(
    (await waiting).map((one) => ({ ...lease(one), outcome: "failed", storeResult: true, error: "{}" })),
  );
  await queue.get([failed, "none"]);
  await queue.list({ queue: "q" }, { limit: 10 });
  await queue.counts();
  await queue.configureQueue("q", { maxActive: 5, rateLimit: { limit: 10, windowMs: 1_000 }, deadLetterTtlMs: 60_000 });
  await queue.pause("q");
  await queue.resume("q");
  const unrecorded = await queue.unrecorded(100);
  await queue.record(unrecorded.map(({ taskId, run }) => ({ taskId, run })));
  await queue.remove([failed]);
  await queue.purge("q", ["ready", "failed", "scheduled", "blocked"]);
  await queue.sweep(100);
  stop();

  await results.put([
    { taskId: "r", run: 1, attempt: 1, name: "n", queue: "q", status: "completed", value: "1", ttlMs: 1 },
  ]);
  await results.get(["r"]);
  await results.list({ queue: "q" }, { limit: 10 });
  await results.delete(["r"]);
  await results.sweep(100);

  await events.append([event("e1"), { ...event("e2"), at: Date.now() - 3_600_000 }]);
  await events.query({ taskId: "t" }, { limit: 10 });
  await events.query({}, { limit: 10 });
  await events.tail({}, "start")[Symbol.asyncIterator]().next();
  const tail = events.tail({}, "now")[Symbol.asyncIterator]();
  const next = tail.next();
  for (let n = 0; ; n++) {
    await events.append([event(`late${n}`)]);
    const heard = await Promise.race([next.then(() => true), new Promise((done) => setTimeout(done, 20, false))]);
    if (heard === true) break;
  }
  await tail.return?.();
  await events.sweep(100);

  const schedule = { id: "s", rule: "r", template: "t", nextAt: 1, runs: 0, paused: false };
  const stored = await schedules.put(schedule, null);
  await schedules.get(["s"]);
  await schedules.list({ limit: 10 });
  assert.equal((await schedules.due(10)).schedules.length, 1);
  assert.equal(await schedules.advance("s", stored?.revision ?? "", { nextAt: null, runs: 1 }), true);
  assert.deepEqual(await schedules.delete(["s"]), [true]);

  const replicated = redis({ url: as("change-me"), waitReplicas: 1 });
  // There is no replica; the command itself is allowed.
  await assert.rejects(
    replicated.taskQueue().enqueue([{ tasks: [task()] }]),
    (error) => isOmniQError(error) && error.retryable,
  );
  for (const one of [backend, second, replicated]) await one.close();
  const refusals = (await admin.call("ACL", "LOG")) as unknown[];
  assert.deepEqual(refusals, []);
});

test("the README's command names each command that is used, and no other", () => {
  const inScripts = Object.values(sources)
    .join("\n")
    .matchAll(/\b(?:p?call)\('([A-Z]+)'/gu);
  const ofClients = [
    "evalsha",
    "eval",
    "wait",
    "select",
    "info",
    "ping",
    "subscribe",
    "unsubscribe",
    "xread",
    "xrevrange",
  ];
  const inbox = ["bzpopmin", "hget", "xrange", "xadd", "zadd"];
  const used = new Set([...[...inScripts].map(([, name = ""]) => name.toLowerCase()), ...ofClients, ...inbox]);
  used.add("client|setname");
  const allowed = words.filter((word) => word.startsWith("+")).map((word) => word.slice(1));
  assert.deepEqual(allowed.toSorted(), [...used].toSorted());
});

test("with these rights other keys, other channels and other commands are refused", async () => {
  const client = new Redis(as("change-me"), { protocol: 2 });
  client.on("error", () => undefined);
  try {
    for (const call of [
      ["hget", "other", "f"],
      ["hget", "{omniq2}:t", "f"],
      ["eval", "return redis.call('HSET', 'other', 'f', 'v')", "0"],
      ["eval", "return redis.call('GET', '{omniq}:t')", "0"],
      ["subscribe", "other"],
      ["publish", "other", "x"],
      ["flushall"],
      ["keys", "*"],
      ["config", "get", "*"],
    ]) {
      const [name, ...args] = call as [string, ...string[]];
      await assert.rejects(client.call(name, ...args), /NOPERM|can't run this command|can't access/u, call.join(" "));
    }
  } finally {
    client.disconnect();
  }
  const wrong = redis({ url: as("wrong-secret") });
  await assert.rejects(wrong.check(), (error) => isOmniQError(error) && !error.message.includes("wrong-secret"));
  await wrong.close();
});
