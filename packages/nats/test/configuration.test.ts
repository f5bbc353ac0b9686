// NATS by configuration alone: partitions from a file and from the environment, in either spelling, their names as they are.
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, OmniQ, type LoadOptions } from "@omniq/core";
import { nats } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { removeStreams, servers } from "./harness.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const double = defineTask({ name: "double", run: (input: number) => input * 2, queue: "news_letters" });

/** A task of a listed queue goes through the log of its partition, which another process with the same configuration reads. */
async function goesThrough(prefix: string, options: LoadOptions): Promise<void> {
  closers.push(() => removeStreams(prefix));
  const [producer, consumer] = [
    await OmniQ.load({ adapters: [nats], ...options }),
    await OmniQ.load({ adapters: [nats], ...options }),
  ];
  closers.push(
    () => producer.close(),
    () => consumer.close(),
  );
  const handle = await producer.enqueue(double, 21);
  await consumer.worker({ tasks: [double], queues: ["news_letters"] }).drain();
  expect(await handle.result()).toBe(42);
  const connection = await connect({ servers });
  closers.push(() => connection.close());
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const told = async (partition: string): Promise<boolean> => {
    const name = `${prefix}-log-${partition}`;
    const { state } = await manager.streams.info(name);
    for (let seq = state.first_seq; seq <= state.last_seq; seq++)
      if ((await manager.streams.getMessage(name, { seq }))?.string().includes('"news_letters"') === true) return true;
    return false;
  };
  // Workers look for what is unrecorded in all logs; the task itself is in one.
  expect(await told("mail_out")).toBe(true);
  expect(await told("default")).toBe(false);
  const { config } = await manager.streams.info(`${prefix}-log-default`);
  expect(JSON.parse(config.description ?? "")).toEqual({ mail_out: ["news_letters", "receipts"] });
}

const fresh = (): string => `omniq_c_${randomUUID().slice(0, 8)}`;

test("partitions from a file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "omniq-nats-config-"));
  closers.push(() => rmSync(folder, { recursive: true }));
  const [prefix, file] = [fresh(), join(folder, "omniq.yaml")];
  writeFileSync(
    file,
    `task_queue:
  type: nats
  servers: ${JSON.stringify(servers)}
  prefix: ${prefix}
  durability_warning: false
  partitions:
    mail_out: [news_letters, receipts]
`,
  );
  await goesThrough(prefix, { file, environment: false });
});

test("partitions from the environment, as JSON", async () => {
  const prefix = fresh();
  await goesThrough(prefix, {
    environment: {
      OMNIQ_TASK_QUEUE_TYPE: "nats",
      OMNIQ_TASK_QUEUE_SERVERS: servers.join(","),
      OMNIQ_TASK_QUEUE_PREFIX: prefix,
      OMNIQ_TASK_QUEUE_DURABILITY_WARNING: "false",
      OMNIQ_TASK_QUEUE_PARTITIONS: '{"mail_out":["receipts","news_letters"]}',
    },
  });
});

test("partitions that can't be used are an error of the configuration", async () => {
  const load = OmniQ.load({
    adapters: [nats],
    environment: false,
    config: { taskQueue: { type: "nats", partitions: { "mail.out": ["a"] } } },
  });
  await expect(load).rejects.toMatchObject({
    code: "OMNIQ_CONFIG_INVALID",
    message: expect.stringContaining("names of partitions"),
  });
});
