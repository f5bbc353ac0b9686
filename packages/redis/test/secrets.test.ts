// What is secret stays so: passwords and payloads in no error, in no look at a backend; a database that is not there is no other database.
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { isOmniQError, OmniQ } from "@omniq/core";
import { redis } from "@omniq/redis";
import { startNode } from "./nodes.ts";
import { task } from "./tasks.ts";

const password = "pass-word-7c1e";
const payload = "pay-load-55d2";
const node = await startNode("--requirepass", password);
afterAll(() => node.remove());

/** All that a program could print of it. */
function looks(thing: unknown): string {
  const texts = [inspect(thing), inspect(thing, { depth: Infinity, showHidden: true, maxArrayLength: 5_000 })];
  const seen = new WeakSet<object>();
  const json = JSON.stringify(thing, (_key, value: unknown) => {
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return undefined;
    seen.add(value);
    return value;
  });
  for (let error = thing; error instanceof Error; error = error.cause)
    texts.push(error.message, String(error.stack), JSON.stringify({ ...error }), inspect({ ...error }, { depth: 20 }));
  return [...texts, json ?? ""].join("\n");
}
function clean(thing: unknown, what: string): void {
  const text = looks(thing);
  for (const secret of [password, payload, encodeURIComponent(password)])
    assert.ok(
      !text.includes(secret),
      `${what} shows "${secret}": …${text.slice(Math.max(0, text.indexOf(secret) - 200), text.indexOf(secret) + 50)}`,
    );
}

test("a backend, its components and a client that uses it show no password", async () => {
  const url = `redis://:${password}@127.0.0.1:${node.port}`;
  for (const options of [{ url }, { port: node.port, host: "127.0.0.1", password }]) {
    const backend = redis(options);
    await backend.check();
    const parts = [backend.taskQueue(), backend.resultStorage(), backend.eventStorage(), backend.scheduleStorage()];
    const client = new OmniQ({ taskQueue: backend });
    for (const [index, part] of [backend, client, ...parts].entries()) clean(part, `part ${index}`);
    await client.close();
    await backend.close();
  }
});

test("errors carry neither the arguments of commands nor passwords", async () => {
  const refused = redis({ url: `redis://:${password}-wrong@127.0.0.1:${node.port}` });
  // A key of another type makes the script fail, with the task among its arguments.
  const admin = new Redis(node.url, { protocol: 2, password });
  await admin.set("{spoiled}:t", "text");
  admin.disconnect();
  const spoiled = redis({ port: node.port, host: "127.0.0.1", password, prefix: "spoiled" });
  const away = redis({ host: "127.0.0.1", port: 1, password });
  const calls = [
    refused.check(),
    refused.taskQueue().enqueue([{ tasks: [task({ payload })] }]),
    spoiled.taskQueue().enqueue([{ tasks: [task({ payload }), task({ payload, priority: 2 })] }]),
    away.taskQueue().enqueue([{ tasks: [task({ payload })] }]),
  ];
  const told = await Promise.allSettled(calls);
  const errors = told.map((one) => (one.status === "rejected" ? (one.reason as unknown) : undefined));
  assert.equal(errors.length, 4);
  for (const error of errors) {
    assert.ok(isOmniQError(error), String(error));
    clean(error, error.message);
  }
  await Promise.all([refused.close(), spoiled.close(), away.close()]);
}, 30_000);

test("a database that the server does not have is an error, and nothing is stored in number 0", async () => {
  const backend = redis({ port: node.port, host: "127.0.0.1", password, db: 999, prefix: "elsewhere" });
  for (const call of [backend.check(), backend.taskQueue().enqueue([{ tasks: [task()] }])])
    await assert.rejects(call, (error) => isOmniQError(error, "OMNIQ_CONFIG_INVALID") && error.message.includes("999"));
  await backend.close();
  const admin = new Redis(node.url, { protocol: 2, password });
  assert.deepEqual(await admin.keys("{elsewhere}:*"), []);
  admin.disconnect();
  const last = redis({ port: node.port, host: "127.0.0.1", password, db: 15 });
  await last.check();
  await last.close();
});
