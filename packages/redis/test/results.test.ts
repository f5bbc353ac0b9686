// Waiting for results: they come with the message that tells of them, and nothing is missed where the message does not come.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, test } from "vitest";
import type { NewResult, StoredResult } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { startNode } from "./nodes.ts";

const clean: (() => unknown)[] = [];
afterEach(async () => {
  for (const undo of clean.splice(0).reverse()) await undo();
});
/** A server of the test's own, so that what its clients do can be counted. */
async function server(): Promise<{ url: string; admin: Redis }> {
  const node = await startNode();
  clean.push(() => node.remove());
  const admin = new Redis(node.url);
  clean.push(() => admin.disconnect());
  return { url: node.url, admin };
}
function open(url: string): RedisBackend {
  const backend = redis({ url });
  clean.push(() => backend.close());
  return backend;
}
function result(taskId: string, run = 1, value = "v"): NewResult {
  return { taskId, run, attempt: 1, name: "n", queue: "q", status: "completed", value, ttlMs: 60_000 };
}
/** How often scripts ran. */
async function scripts(admin: Redis): Promise<number> {
  return Number(/cmdstat_evalsha:calls=(\d+)/.exec(await admin.info("commandstats"))?.[1] ?? 0);
}
/** Until clients wait for so many results, and are to be told. */
async function waited(admin: Redis, number: number): Promise<void> {
  for (let tries = 0; (await admin.hlen("{omniq}:rw")) !== number; tries++) {
    assert.ok(tries < 500, `${number} results are waited for`);
    await sleep(10);
  }
}
const soon = async (wait: Promise<readonly StoredResult[]>): Promise<readonly StoredResult[]> =>
  await Promise.race([
    wait,
    sleep(3_000, undefined, { ref: false }).then(() => {
      throw new Error("nothing came");
    }),
  ]);

test("a result comes with its message: nobody asks the server again, and who goes on waiting for others neither", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  const references = ["a", "b", "c"].map((taskId) => ({ taskId, run: 1 }));
  await storing.put([result("warm")]);
  const first = waiting.wait(references, 20_000);
  await waited(admin, 3);
  const before = await scripts(admin);
  await storing.put([result("b", 1, "ünï")]);
  assert.deepEqual(
    (await soon(first)).map(({ taskId, value }) => [taskId, value]),
    [["b", "ünï"]],
  );
  const second = waiting.wait([references[0], references[2]] as typeof references, 20_000);
  // Long enough for a look that there should not be.
  await sleep(200);
  await storing.put([result("c", 1, "c\0c"), result("a", 1, "")]);
  assert.deepEqual(
    (await soon(second)).map(({ taskId, value }) => [taskId, value]),
    [
      ["c", "c\0c"],
      ["a", ""],
    ],
  );
  assert.equal((await scripts(admin)) - before, 2);
});

test("long results, and many at once, are looked for", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  const ids = Array.from({ length: 40 }, (_, n) => `t${n}`);
  const waits = waiting.wait([{ taskId: "long", run: 1 }], 20_000);
  const all = ids.map((taskId) => waiting.wait([{ taskId, run: 1 }], 20_000));
  await waited(admin, 41);
  await storing.put([result("long", 1, "x".repeat(100_000))]);
  assert.equal((await soon(waits))[0]?.value?.length, 100_000);
  await storing.put(ids.map((id) => result(id, 1, id.padEnd(60_000, "."))));
  for (const [index, wait] of all.entries()) assert.ok((await soon(wait))[0]?.value?.startsWith(`${ids[index]}.`));
});

test("a message of a lower run does not end the wait, and the higher run's does", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  const wait = waiting.wait([{ taskId: "a", run: 2 }], 20_000);
  await waited(admin, 1);
  await storing.put([result("a", 1, "first")]);
  await waited(admin, 1);
  await storing.put([result("a", 2, "second")]);
  assert.equal((await soon(wait))[0]?.value, "second");
});

test("who waits for a lower run is not left to the word of who waits for a higher one", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  await storing.put([result("a", 1, "first")]);
  const higher = waiting.wait([{ taskId: "a", run: 2 }], 20_000);
  await waited(admin, 1);
  const lower = waiting.wait([{ taskId: "a", run: 1 }], 20_000);
  assert.equal((await soon(lower))[0]?.value, "first");
  await storing.put([result("a", 2, "second")]);
  assert.equal((await soon(higher))[0]?.value, "second");
});

test("what was stored before a look without waiting is there, whoever waits for it beside", async () => {
  const { url } = await server();
  const results = open(url).resultStorage();
  for (let n = 0; n < 20; n++) {
    const wait = results.wait([{ taskId: `t${n}`, run: 1 }], 20_000);
    await sleep(5);
    await results.put([result(`t${n}`)]);
    const [looked] = await results.wait([{ taskId: `t${n}`, run: 1 }], 0);
    assert.equal(looked?.taskId, `t${n}`);
    assert.equal((await soon(wait))[0]?.taskId, `t${n}`);
  }
});

test("one that finds a result at once leaves no other waiting for a message that never comes", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  await storing.put([result("there")]);
  const both = waiting.wait(
    [
      { taskId: "there", run: 1 },
      { taskId: "later", run: 1 },
    ],
    20_000,
  );
  // Begun while the first one looks, whose word it would rely on.
  const other = waiting.wait([{ taskId: "later", run: 1 }], 20_000);
  const third = waiting.wait([{ taskId: "there", run: 1 }], 20_000);
  assert.deepEqual(
    (await soon(both)).map(({ taskId }) => taskId),
    ["there"],
  );
  assert.equal((await soon(third))[0]?.taskId, "there");
  await waited(admin, 1);
  await storing.put([result("later")]);
  assert.equal((await soon(other))[0]?.taskId, "later");
});

test("a result that is stored while the subscription is broken is found when it is back", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  const wait = waiting.wait([{ taskId: "a", run: 1 }], 20_000);
  await waited(admin, 1);
  const killed = await admin.client("KILL", "TYPE", "pubsub");
  assert.equal(killed, 1);
  await storing.put([result("a")]);
  assert.equal((await soon(wait))[0]?.taskId, "a");
});

test("a message that anybody may have sent only wakes: a forged result is not taken, and text of any form harms nobody", async () => {
  const { url, admin } = await server();
  const waiting = open(url).resultStorage();
  const storing = open(url).resultStorage();
  const wait = waiting.wait([{ taskId: "a", run: 1 }], 20_000);
  await waited(admin, 1);
  const [channel] = (await admin.pubsub("CHANNELS", "{omniq}:n:*")) as string[];
  assert.ok(channel);
  const record = "R0000000000011\x001\0n\0q\0c\x001000\0-\x000\0-\0\0vforged";
  const forged = [
    `a\0${record.length}\0\0${record}`,
    `a\0nonce\0${record.length}\0\0${record}`,
    `a\0\0\0-1\0\0`,
    "",
    "\0",
    "\0\0",
    "null",
    "a\0x\x00999999999999\0\0",
    "a\0".repeat(10_000),
  ];
  for (const text of forged) await admin.publish(channel, text);
  for (const text of forged) await admin.publish("{omniq}:cancel", text);
  await sleep(100);
  await storing.put([result("a", 1, "true")]);
  assert.deepEqual(
    (await soon(wait)).map(({ value }) => value),
    ["true"],
  );
});
