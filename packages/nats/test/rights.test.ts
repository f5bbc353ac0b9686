// The least rights of a user, as the README gives them: enough for everything, and nothing of what is another's.
import { readFileSync } from "node:fs";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { nats, type NatsOptions } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { TestServer } from "./server.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});
const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const config = /```conf\n(?<text>authorization \{[^]*?)\n```/.exec(readme)?.groups?.["text"] ?? "";
/** The README's user, one more of another prefix, and one who may all. */
function users(): string {
  const mine = /\{\n {6}user: shop[^]*\n {4}\}/.exec(config)?.[0] ?? "";
  expect(mine).toContain("permissions");
  const plain = mine.replace(/password: .*/, 'password: "p"');
  const other = plain.replaceAll("shop", "blog");
  return `authorization { users: [ ${plain}\n ${other}\n { user: admin, password: p }, { user: poor, password: p, permissions: { publish: ["$JS.API.>"], subscribe: ["_INBOX.>"] } } ] }\n`;
}
function open(url: string, user: string, more: NatsOptions = {}) {
  const backend = nats({
    servers: url,
    username: user,
    password: "p",
    prefix: user,
    inboxPrefix: `_INBOX_${user}`,
    durabilityWarning: false,
    ...more,
  });
  closers.push(() => backend.close());
  return backend;
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

test("the server takes the README's text as it is", async () => {
  const server = await TestServer.start(`${config}\n`);
  await server.stop();
});

test("with the README's rights everything works, checkpoints, purges and large replays too; another's streams and inboxes are out of reach", async () => {
  const server = await TestServer.start(users());
  closers.push(() => server.stop());
  const shop = open(server.url, "shop", { checkpointBytes: 2_000_000 });
  await shop.check();
  const queue = shop.taskQueue();
  // Much more than the server sends before it asks for a word of the consumer.
  for (let n = 0; n < 40; n++) await queue.enqueue([{ tasks: [task(`t-${n}`, "p".repeat(400_000))] }]);
  const reader = open(server.url, "shop").taskQueue();
  expect((await reader.counts())["q"]).toMatchObject({ ready: 40 });
  const [lease] = await reader.reserve({ queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 0, worker: "w" });
  expect(
    await reader.settle([{ ...(lease as NonNullable<typeof lease>), outcome: "completed", storeResult: true }]),
  ).toEqual(["settled"]);

  const admin = await connect({ servers: server.url, user: "admin", pass: "p" });
  closers.push(() => admin.close());
  const manager = await jetstreamManager(admin, { checkAPI: false });
  expect((await manager.streams.info("shop-checkpoint-default")).state.messages).toBeGreaterThan(0);
  // The other prefix works beside it; with its rights nothing of the first one is read, written, made, or heard.
  await open(server.url, "blog")
    .taskQueue()
    .enqueue([{ tasks: [task("b")] }]);
  const other = await connect({ servers: server.url, user: "blog", pass: "p", inboxPrefix: "_INBOX_blog" });
  closers.push(() => other.close());
  const refused: string[] = [];
  void (async () => {
    for await (const status of other.status()) if (status.type === "error") refused.push(status.error.message);
  })();
  other.publish("shop.log.default", "x");
  other.publish("_INBOX_shop.forged", "x");
  other.publish("$JS.API.STREAM.MSG.GET.shop-log-default", '{"seq":1}');
  other.publish("$JS.API.STREAM.DELETE.blog-log-default");
  other.subscribe("_INBOX_shop.>", { callback: () => {} });
  other.subscribe("shop.>", { callback: () => {} });
  await other.flush();
  await expect.poll(() => refused.length, { timeout: 10_000 }).toBe(6);
  expect((await manager.streams.info("blog-log-default")).state.messages).toBe(1);
}, 60_000);

test("a right that lacks, and credentials that are wrong, are told as such", async () => {
  const server = await TestServer.start(users());
  closers.push(() => server.stop());
  const poor = open(server.url, "poor", { inboxPrefix: "_INBOX" }).taskQueue();
  await expect(poor.enqueue([{ tasks: [task("x")] }])).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FAILED",
    message: expect.stringContaining("Rights of a user"),
  });
  await expect(open(server.url, "shop", { password: "hunter2" }).check()).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FAILED",
    message: expect.stringContaining("refused the credentials"),
  });
});
