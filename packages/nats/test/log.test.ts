// The suite of ordered logs on the command log itself.
import { randomUUID } from "node:crypto";
import { testOrderedLog } from "@omniq/conformance";
import { DeliverPolicy, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { Checkpoints } from "../src/checkpoints.ts";
import { Connection } from "../src/connection.ts";
import { NatsLog } from "../src/log.ts";
import { checkOptions } from "../src/options.ts";
import { removeStreams, servers } from "./harness.ts";
import { TestServer } from "./server.ts";

const closers: (() => Promise<void>)[] = [];
const prefixes: string[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(async () => {
  for (const prefix of prefixes) await removeStreams(prefix);
});

function openLog(prefix: string): NatsLog {
  const connection = new Connection(checkOptions({ servers, prefix }));
  const log = new NatsLog(connection, { prefix, partition: "default" }, 1);
  closers.push(async () => {
    await log.close();
    await connection.close();
  });
  return log;
}
function opener(): () => Promise<NatsLog> {
  const prefix = `omniq_log_${randomUUID().slice(0, 8)}`;
  prefixes.push(prefix);
  return async () => openLog(prefix);
}

/** Whoever looks after the server, beside OmniQ. */
async function openManager() {
  const connection = await connect({ servers });
  closers.push(() => connection.close());
  return { connection, manager: await jetstreamManager(connection, { checkAPI: false }) };
}

testOrderedLog({ describe, test, ordering: "server", open: openLog, cleanUp: removeStreams });

describe("the command log", () => {
  test("a body larger than a message goes in parts, and is whole for whoever begins in the middle of it", async () => {
    const open = opener();
    const log = await open();
    const large = "ä".repeat(1_500_000);
    const first = await log.append(1, "first");
    const stored = await log.append(2, large);
    if (first.state !== "stored" || stored.state !== "stored") throw new Error("not stored");
    expect(stored.position).toBeGreaterThan(first.position + 3);
    const other = await open();
    await other.read(1);
    const begin = await other.read(first.position + 1);
    expect(begin.state === "read" && begin.entries[0]?.body === large).toBe(true);
    // The parts lie before this position.
    const middle = await (await open()).read(stored.position);
    expect(middle.state === "read" && middle.entries[0]?.body === large).toBe(true);
  });

  test("a checkpoint that its process was about to finish when it fell asleep does not replace newer ones", async () => {
    const prefix = `omniq_log_${randomUUID().slice(0, 8)}`;
    prefixes.push(prefix);
    const connection = new Connection(checkOptions({ servers, prefix }));
    closers.push(() => connection.close());
    const sleeper = new Checkpoints(connection, `${prefix}-checkpoint-default`, `${prefix}.checkpoint.default`, 1);
    expect(await sleeper.write({ position: 10, pieces: ["the state at 10"] })).toBe(0);
    const request = connection.request.bind(connection);
    connection.request = async (subject, ...rest) => {
      // It has looked whether a newer one is there, and next says that its own is whole.
      if (subject.endsWith(".head")) {
        const awake = openLog(prefix);
        for (const position of [30, 40])
          await awake.writeCheckpoint({ position, pieces: [`the state at ${position}`] });
      }
      return await request(subject, ...rest);
    };
    expect(await sleeper.write({ position: 20, pieces: ["the state at 20"] })).toBeUndefined();
    expect(await sleeper.read()).toEqual({ position: 40, pieces: ["the state at 40"] });
  });

  test(
    "looking for checkpoints while others make their stream is safe for the server",
    { timeout: 60_000 },
    async () => {
      // One of the test's own: 2.9 was seen to end with a panic.
      const server = await TestServer.start();
      closers.push(() => server.stop());
      const connections = Array.from({ length: 5 }, () => new Connection(checkOptions({ servers: server.url })));
      for (const connection of connections) closers.push(() => connection.close());
      for (let n = 0; n < 60; n++) {
        const [writer, ...readers] = connections.map(
          (connection) => new Checkpoints(connection, `c${n}-checkpoint`, `c${n}.checkpoint`, 1),
        );
        let written = false;
        const looking = readers.map(async (reader) => {
          while (!written) await reader.position();
        });
        await writer?.write({ position: 1, pieces: ["the state at 1"] });
        written = true;
        await Promise.all(looking);
        expect(await readers[0]?.position()).toBe(1);
      }
    },
  );

  test("a checkpoint that lacks a part is an error that says so", { timeout: 30_000 }, async () => {
    const open = opener();
    const log = await open();
    await log.append(0, "1");
    await log.writeCheckpoint({ position: 1, pieces: ["the state at 1"] });
    const { manager } = await openManager();
    await manager.streams.deleteMessage(`${prefixes.at(-1) as string}-checkpoint-default`, 1);
    await expect((await open()).readCheckpoint()).rejects.toMatchObject({
      code: "OMNIQ_BACKEND_FAILED",
      message: expect.stringContaining("not whole"),
    });
  });

  test(
    "a log that begins after its newest checkpoint is an error that says so, not an endless search",
    { timeout: 30_000 },
    async () => {
      const open = opener();
      const prefix = prefixes.at(-1) as string;
      const log = await open();
      for (let index = 0; index < 5; index++) await log.append(0, `${index}`);
      await log.writeCheckpoint({ position: 2, pieces: ["the state at 2"] });
      const { manager } = await openManager();
      await manager.streams.purge(`${prefix}-log-default`, { seq: 5 });
      const missing = { code: "OMNIQ_BACKEND_FAILED", message: expect.stringContaining("begins at 5") };
      await expect((await open()).readCheckpoint()).rejects.toMatchObject(missing);
      await manager.streams.delete(`${prefix}-checkpoint-default`);
      await expect((await open()).readCheckpoint()).rejects.toMatchObject(missing);
    },
  );

  test("what the node that feeds a process does not have is taken from the leader, with the same times", async () => {
    const open = opener();
    const prefix = prefixes.at(-1) as string;
    const log = await open();
    for (let index = 0; index < 40; index++) await log.append(0, `${index}`);
    const connection = new Connection(checkOptions({ servers, prefix }));
    closers.push(() => connection.close());
    const manage = connection.manage.bind(connection);
    let holes = 0;
    connection.manage = async (what, call) =>
      await manage(what, (manager) => {
        const add: typeof manager.consumers.add = async (stream, config) => {
          if (holes++ > 1) return await manager.consumers.add(stream, config);
          // As from a node that does not have the messages up to 30.
          return await manager.consumers.add(stream, {
            ...config,
            deliver_policy: DeliverPolicy.StartSequence,
            opt_start_seq: 31,
          });
        };
        const consumers = { add, delete: manager.consumers.delete.bind(manager.consumers) };
        return call({ consumers, streams: manager.streams } as unknown as typeof manager);
      });
    const reader = new NatsLog(connection, { prefix, partition: "default" }, 1);
    closers.push(() => reader.close());
    // What a busy process has heard at a time may be a part of it.
    const readAll = async (from: NatsLog): Promise<unknown[]> => {
      const entries: unknown[] = [];
      while (entries.length < 40) {
        const part = await from.read(entries.length + 1, 40);
        if (part.state !== "read") throw new Error("not read");
        entries.push(...part.entries);
      }
      return entries;
    };
    const [all, seen] = [await readAll(log), await readAll(reader)];
    expect(holes).toBeGreaterThan(1);
    expect(all).toHaveLength(40);
    expect(seen).toEqual(all);
  });

  test(
    "a message that no server has any more is an error that says which, not left out",
    { timeout: 30_000 },
    async () => {
      const open = opener();
      const prefix = prefixes.at(-1) as string;
      const { connection, manager } = await openManager();
      const name = `${prefix}-log-default`;
      await manager.streams.add({ name, subjects: [`${prefix}.log.default`] });
      const log = await open();
      for (let index = 0; index < 5; index++) await log.append(0, `${index}`);
      await manager.streams.deleteMessage(name, 3);
      const asked: string[] = [];
      connection.subscribe(`$JS.API.STREAM.LEADER.STEPDOWN.${name}`, {
        callback: (_, { subject }) => void asked.push(subject),
      });
      const other = await open();
      const read = await other.read(1, 2);
      expect(read.state === "read" && read.entries.map(({ body }) => body)).toEqual(["0", "1"]);
      await expect(other.read(3, 5)).rejects.toMatchObject({
        code: "OMNIQ_BACKEND_FAILED",
        message: expect.stringContaining("Message 3 of stream"),
      });
      // Another node might have had it.
      expect(asked).toHaveLength(3);
    },
  );

  test("a log that was purged above what a process has read is stale; so is one that was made anew", async () => {
    const open = opener();
    const log = await open();
    for (let index = 0; index < 3; index++) await log.append(0, `${index}`);
    await log.read(1);
    await removeStreams(prefixes.at(-1) as string);
    const again = await open();
    await again.append(0, "new");
    expect(await log.read(4)).toEqual({ state: "stale" });
    const read = await log.read(1);
    expect(read.state === "read" && read.entries.map(({ body }) => body)).toEqual(["new"]);
  });
});
