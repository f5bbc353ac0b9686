// What is particular to NATS: producers without a replica, a connection of the user's, lost acknowledgements, options.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, isOmniQError, OmniQ, type NewTask } from "@omniq/core";
import { adapter, nats, type NatsOptions } from "@omniq/nats";
import { afterEach, describe, expect, test } from "vitest";
import { removeStreams, servers } from "./harness.ts";
import { Proxy } from "./proxy.ts";

const prefixes: string[] = [];
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const prefix of prefixes.splice(0)) await removeStreams(prefix);
});
function fresh(): string {
  const prefix = `omniq_t_${randomUUID().slice(0, 8)}`;
  prefixes.push(prefix);
  return prefix;
}
function open(options: NatsOptions) {
  const backend = nats(options);
  closers.push(() => backend.close());
  return backend;
}
/** A task with an id as core makes it. */
function generated(more: Partial<NewTask> = {}): NewTask {
  const time = Date.now().toString(16).padStart(12, "0");
  const id = `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
  return {
    id,
    name: "n",
    queue: "q",
    payload: "p",
    envelope: "{}",
    priority: 0,
    maxAttempts: 3,
    resultTtlMs: 0,
    rememberMs: 600_000,
    ...more,
  };
}

describe("a producer that only enqueues", () => {
  test("writes to the log and reads nothing; what it wrote is there for others", async () => {
    const prefix = fresh();
    const producer = new OmniQ({ taskQueue: nats({ servers, prefix }) });
    closers.push(() => producer.close());
    const work = defineTask({ name: "work" });
    const handles = await producer.enqueueMany(Array.from({ length: 20 }, () => work.with()));
    await producer.enqueue(work);
    expect(handles).toHaveLength(20);
    const connection = await connect({ servers });
    closers.push(() => connection.close());
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const { state } = await manager.streams.info(`${prefix}-log-default`);
    expect(state).toMatchObject({ messages: 2, consumer_count: 0 });
    const other = open({ servers, prefix }).taskQueue();
    expect((await other.counts())["default"]).toMatchObject({ ready: 21 });
  });

  test("answers duplicates as such, its own and those with ids of users", async () => {
    const queue = open({ servers, prefix: fresh() }).taskQueue();
    const task = generated();
    const twin = generated({ id: "mine", rememberMs: 86_400_000 });
    const states = [];
    for (const tasks of [[task], [task], [twin], [twin]]) {
      const [answer] = await queue.enqueue([{ tasks }]);
      states.push(answer?.state === "accepted" ? answer.receipts[0]?.state : answer?.state);
    }
    expect(states).toEqual(["enqueued", "duplicate", "enqueued", "duplicate"]);
    expect((await queue.counts())["q"]).toMatchObject({ ready: 2 });
  });

  test("an acknowledgement that is lost leaves one task", async () => {
    const prefix = fresh();
    const proxy = await Proxy.start(Number(new URL(servers[0] as string).port));
    closers.push(() => proxy.stop());
    const queue = open({ servers: [proxy.url], prefix, giveUpMs: 30_000 }).taskQueue();
    await queue.enqueue([{ tasks: [generated()] }]);
    for (let round = 0; round < 5; round++) {
      const asked = queue.enqueue([{ tasks: [generated()] }]);
      await sleep(round);
      proxy.cut();
      await asked;
    }
    const other = open({ servers, prefix }).taskQueue();
    expect((await other.counts())["q"]).toMatchObject({ ready: 6 });
  });
});

test("a client that is cut off without a word goes on by itself when it can", { timeout: 90_000 }, async () => {
  const prefix = fresh();
  const proxy = await Proxy.start(Number(new URL(servers[0] as string).port));
  closers.push(() => proxy.stop());
  const queue = open({ servers: [proxy.url], prefix, giveUpMs: 60_000 }).taskQueue();
  const other = open({ servers, prefix }).taskQueue();
  await queue.counts();
  const waiting = queue.reserve({ queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 60_000, worker: "w" });
  await sleep(100);
  proxy.hush();
  await other.enqueue([{ tasks: [generated({ id: "a" })] }]);
  await sleep(1_000);
  proxy.speak();
  proxy.cut();
  expect((await waiting).map(({ taskId }) => taskId)).toEqual(["a"]);
});

test("a connection of the user's is used and left open", async () => {
  const connection = await connect({ servers });
  closers.push(() => connection.close());
  const backend = nats({ connection, prefix: fresh() });
  expect(backend.remote).toBeUndefined();
  expect(backend.taskQueue().capabilities.remoteHeartbeats).toBe(false);
  await backend.taskQueue().enqueue([{ tasks: [generated({ id: "a" })] }]);
  await backend.close();
  await connection.flush();
  expect(connection.isClosed()).toBe(false);
});

test("no server: a retryable error, and the password in no message", async () => {
  const backend = open({ servers: ["nats://127.0.0.1:1"], username: "u", password: "hunter2" });
  const error = await backend.check().catch((reason: unknown) => reason);
  expect(isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE") && error.retryable).toBe(true);
  expect(String(error)).not.toContain("hunter2");
});

describe("options", () => {
  test("an address with a password in it is not quoted", () => {
    expect(() => nats({ servers: "nats://u:hunter2@localhost:4222" })).not.toThrow("hunter2");
  });
  test.each(["[::1]:4222", "nats://[::1]:4222", "tls://nats.example.com", "localhost"])(
    "%s is an address",
    async (server) => {
      await nats({ servers: server }).close();
    },
  );
  test("files that can't be read, or are not what they should be, are named", async () => {
    const invalid = (name: string) => ({ code: "OMNIQ_CONFIG_INVALID", message: expect.stringContaining(name) });
    await expect(open({ servers, credentials: "/none/x.creds" }).check()).rejects.toMatchObject(invalid("credentials"));
    const wrong = fileURLToPath(import.meta.url);
    await expect(open({ servers, credentials: wrong }).check()).rejects.toMatchObject(invalid(".creds"));
    await expect(open({ servers, tls: { caFile: "/none/ca.pem" } }).check()).rejects.toMatchObject(
      invalid("tls.caFile"),
    );
  });
  test.each([
    ["servers", { servers: [] }],
    ["servers", { servers: "http://localhost:4222" }],
    ["servers", { servers: ["nats://a b:4222"] }],
    ["servers", { servers: ["localhost:99999"] }],
    ["servers", { servers: "a:4222,b:4222" }],
    ["username and password", { servers: "nats://u:hunter2@localhost:4222" }],
    ["prefix", { prefix: "a b" }],
    ["prefix", { prefix: 'a"b' }],
    ["prefix", { prefix: "a\0b" }],
    ["prefix", { prefix: "a\n" }],
    ["prefix", { prefix: "*" }],
    ["prefix", { prefix: "a".repeat(41) }],
    ["durabilityWarning", { durabilityWarning: 1 as never }],
    ["tls", { tls: "yes" as never }],
    ["credentials", { credentials: "" }],
    ["prefix", { prefix: "a.b" }],
    ["prefix", { prefix: "" }],
    ["replicas", { replicas: 0 }],
    ["exclude", { token: "t", username: "u" }],
    ["username", { password: "p" }],
    ["eventTtlMs", { eventTtlMs: 0.5 }],
    ["connection", { connection: {} as never }],
  ] as const)("what is wrong names the option: %s", (name, options) => {
    expect(() => nats(options)).toThrow(
      expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID", message: expect.stringContaining(name) }),
    );
  });
  test("from a URL", () => {
    expect(adapter.fromUrl?.("nats://u:p%40@a:1,b:2?prefix=x&replicas=3")).toEqual({
      servers: ["nats://a:1", "nats://b:2"],
      username: "u",
      password: "p@",
      prefix: "x",
      replicas: 3,
    });
    expect(adapter.fromUrl?.("tls://t@a")).toEqual({ servers: ["nats://a"], token: "t", tls: true });
    expect(() => adapter.fromUrl?.("nats://a?nope=1")).toThrow("nope");
  });
});
