// Backup and restore as the README says, by the requests that `nats stream backup` and `nats stream restore` make: the log first, while work goes on.
import { setTimeout as sleep } from "node:timers/promises";
import { connect, createInbox, type NatsConnection } from "@nats-io/transport-node";
import { nats, type NatsOptions } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { TestServer } from "./server.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});
async function start(): Promise<{ readonly url: string; readonly connection: NatsConnection }> {
  const server = await TestServer.start();
  closers.push(() => server.stop());
  const connection = await connect({ servers: server.url });
  closers.push(() => connection.close());
  return { url: server.url, connection };
}
function open(options: NatsOptions) {
  const backend = nats({ durabilityWarning: false, ...options });
  closers.push(() => backend.close());
  return backend;
}

interface Backup {
  /** The answer to the request: configuration and state of the stream. */
  readonly about: { readonly config: object; readonly state: object };
  readonly chunks: readonly Uint8Array[];
}
async function backUp(connection: NatsConnection, stream: string): Promise<Backup> {
  const inbox = createInbox();
  const chunks: Uint8Array[] = [];
  const coming = connection.subscribe(inbox);
  const request = JSON.stringify({ deliver_subject: inbox, no_consumers: true });
  const about = (await connection.request(`$JS.API.STREAM.SNAPSHOT.${stream}`, request, { timeout: 5_000 })).json<
    Backup["about"] & { readonly error?: object }
  >();
  expect(about.error).toBeUndefined();
  for await (const message of coming) {
    if (message.data.length === 0) break;
    chunks.push(message.data);
    message.respond();
  }
  return { about, chunks };
}
async function restore(connection: NatsConnection, stream: string, { about, chunks }: Backup): Promise<void> {
  const request = JSON.stringify({ config: about.config, state: about.state });
  const answer = await connection.request(`$JS.API.STREAM.RESTORE.${stream}`, request, { timeout: 5_000 });
  const { deliver_subject: subject, error } = answer.json<{
    readonly deliver_subject: string;
    readonly error?: object;
  }>();
  expect(error).toBeUndefined();
  for (const chunk of chunks) await connection.request(subject, chunk, { timeout: 5_000 });
  const end = await connection.request(subject, "", { timeout: 5_000 });
  expect(end.json<{ readonly error?: object }>().error).toBeUndefined();
}

test(
  "a backup that was taken while tasks came holds all that were there before it, and goes on",
  { timeout: 120_000 },
  async () => {
    const [from, to] = [await start(), await start()];
    const options = { prefix: "shop", checkpointBytes: 5_000 };
    const queue = open({ servers: from.url, ...options }).taskQueue();
    const task = (id: string) => ({
      id,
      name: "n",
      queue: "q",
      payload: "p".repeat(200),
      envelope: "{}",
      priority: 0,
      maxAttempts: 3,
      resultTtlMs: null,
      rememberMs: 60_000,
    });
    let next = 0;
    const add = async (): Promise<void> => void (await queue.enqueue([{ tasks: [task(`t-${next++}`)] }]));
    for (let n = 0; n < 100; n++) await add();
    let over = false;
    const adding = (async () => {
      while (!over) {
        await add();
        await sleep(1);
      }
    })();
    const log = await backUp(from.connection, "shop-log-default");
    // So that the checkpoint is well ahead of the log.
    const after = next;
    while (next < after + 100) await sleep(5);
    const checkpoint = await backUp(from.connection, "shop-checkpoint-default");
    over = true;
    await adding;

    await restore(to.connection, "shop-log-default", log);
    await restore(to.connection, "shop-checkpoint-default", checkpoint);
    const restored = open({ servers: to.url, ...options }).taskQueue();
    const before = Array.from({ length: 100 }, (_, n) => `t-${n}`);
    expect((await restored.get(before)).map((found) => found?.id)).toEqual(before);
    const { ready } = (await restored.counts(["q"]))["q"]!;
    await restored.enqueue([{ tasks: [task("new")] }]);
    expect(
      (
        await open({ servers: to.url, ...options })
          .taskQueue()
          .counts(["q"])
      )["q"],
    ).toMatchObject({ ready: ready + 1 });
  },
);
