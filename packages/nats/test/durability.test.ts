// What the process is told of the server's durability, and what a server says that is not as it should be.
import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { nats, type NatsOptions } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { durabilityOf } from "../src/durability.ts";
import { TestServer } from "./server.ts";

const closers: (() => Promise<unknown>)[] = [];
const warnings: (Error & { code?: string })[] = [];
const listen = (warning: Error): void => void warnings.push(warning);
process.on("warning", listen);
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
  warnings.length = 0;
});
async function start(more = ""): Promise<TestServer> {
  const server = await TestServer.start(more);
  closers.push(() => server.stop());
  return server;
}
function open(options: NatsOptions) {
  const backend = nats(options);
  closers.push(() => backend.close());
  return backend;
}
/** Warnings come a turn later. */
async function warned(): Promise<readonly string[]> {
  await new Promise((resolve) => setImmediate(resolve));
  return warnings.filter(({ code }) => code === "OMNIQ_NATS_DURABILITY").map(({ message }) => message);
}
const task = (id: string, payload = "p") => ({
  id,
  name: "n",
  queue: "q",
  payload,
  envelope: "{}",
  priority: 0,
  maxAttempts: 1,
  resultTtlMs: null,
  rememberMs: 60_000,
});

test("one replica: the process is warned once of a server, at the first call", async () => {
  const { url } = await start();
  await open({ servers: url, prefix: "one" })
    .taskQueue()
    .enqueue([{ tasks: [task("a")] }]);
  await open({ servers: url, prefix: "two" }).check();
  const messages = await warned();
  expect(messages).toHaveLength(1);
  expect(messages[0]).toContain(`NATS at ${new URL(url).host}: Stream one-log-default has 1 replica`);
  expect(messages[0]).toContain("sync_interval");
});

test("durabilityWarning: false silences it; durability() says the same", async () => {
  const { url } = await start();
  const backend = open({ servers: url, durabilityWarning: false });
  await backend.check();
  expect(await backend.durability()).toMatchObject({
    replicas: 1,
    survives: "process",
    serverVersion: expect.stringMatching(/^2\.\d+\.\d+/),
    text: expect.stringContaining("power cut"),
  });
  expect(await warned()).toEqual([]);
});

test("a log that someone made in memory survives nothing, whatever else was said", async () => {
  const { url } = await start();
  const connection = await connect({ servers: url });
  closers.push(() => connection.close());
  const manager = await jetstreamManager(connection);
  await manager.streams.add({
    name: "omniq-log-default",
    subjects: ["omniq.log.default"],
    storage: StorageType.Memory,
  });
  const backend = open({ servers: url });
  await backend.check();
  expect(await warned()).toEqual([expect.stringContaining("in memory")]);
  expect((await backend.durability()).survives).toBe("nothing");
});

test("replicas and the ways of writing, in words", () => {
  const settings = { name: "s", storage: StorageType.File, num_replicas: 1 };
  const of = (more: object) => durabilityOf({ ...settings, ...more }, "2.15.1").survives;
  expect([of({}), of({ num_replicas: 2 }), of({ num_replicas: 3 }), of({ num_replicas: 5 })]).toEqual([
    "process",
    "process",
    "machine",
    "machine",
  ]);
  expect([of({ persist_mode: "async" }), of({ persist_mode: "default" })]).toEqual(["nothing", "process"]);
});

test("replicas of servers whose killed nodes come back without what they had do not survive a machine", () => {
  const settings = { name: "s", storage: StorageType.File, num_replicas: 3 };
  const versions = ["2.9.10", "2.10.22", "2.10.23", "2.10.27-RC.1", "2.11.0", "2.15.1", "3.0.0", "unknown"];
  expect(versions.map((version) => durabilityOf(settings, version).survives)).toEqual([
    "process",
    "process",
    ...Array.from({ length: 6 }, () => "machine"),
  ]);
  expect(durabilityOf(settings, "2.9.10").text).toContain("from 2.10.23 on");
});

test("a server without JetStream says so", async () => {
  const server = await start("jetstream: disabled\n");
  await expect(open({ servers: server.url, giveUpMs: 500 }).check()).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_UNAVAILABLE",
    message: expect.stringContaining("JetStream does not answer"),
  });
});
