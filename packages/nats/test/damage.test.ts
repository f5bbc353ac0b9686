// What anybody with the right to publish can send to the streams, and what an operator takes out of them: nobody is wedged, all agree.
import { randomUUID } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { mutateBytes, mutateText, seededRandom } from "@omniq/conformance";
import type { BackendReport, NewTask } from "@omniq/core";
import { nats, type NatsBackend, type NatsOptions } from "@omniq/nats";
import { jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { readParts } from "../src/message.ts";
import { readHead } from "../src/head.ts";
import { removeStreams, servers } from "./harness.ts";

const closers: (() => Promise<unknown>)[] = [];
let connection: NatsConnection;
let manager: JetStreamManager;
beforeAll(async () => {
  connection = await connect({ servers });
  manager = await jetstreamManager(connection, { checkAPI: false });
});
afterAll(() => connection.close());
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

const task = (id: string, payload = "p"): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload,
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 60_000,
});
function collect(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}
function namespace(): string {
  const prefix = `omniq_d_${randomUUID().slice(0, 8)}`;
  closers.push(() => removeStreams(prefix));
  return prefix;
}
function open(prefix: string, more: NatsOptions = {}): NatsBackend & { reports: BackendReport[] } {
  const backend = nats({ servers, prefix, durabilityWarning: false, giveUpMs: 10_000, ...more });
  closers.push(() => backend.close());
  const reports: BackendReport[] = [];
  backend.onReport((report) => void reports.push(report));
  return Object.assign(backend, { reports });
}
const enqueue = (backend: NatsBackend, ...ids: readonly string[]) =>
  backend.taskQueue().enqueue(ids.map((id) => ({ tasks: [task(id)] })));
const ready = async (backend: NatsBackend) => (await backend.taskQueue().counts(["q"]))["q"]?.ready;
async function drain(backend: NatsBackend): Promise<string[]> {
  const queue = backend.taskQueue();
  const done: string[] = [];
  for (;;) {
    const leases = await queue.reserve({ queues: ["q"], limit: 100, leaseMs: 60_000, waitMs: 0, worker: "w" });
    if (leases.length === 0) return done.sort();
    const states = await queue.settle(
      leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: true }) as const),
    );
    for (const [index, state] of states.entries()) if (state === "settled") done.push(leases[index]?.taskId ?? "");
  }
}
const js = async (subject: string, data: Uint8Array | string): Promise<number> =>
  (JSON.parse((await connection.request(subject, data, { timeout: 60_000 })).string()) as { seq: number }).seq;

test("foreign messages in a log are left out by all, reported once with their sequence, and the queue goes on", async () => {
  const prefix = namespace();
  const log = `${prefix}.log.default`;
  const one = open(prefix);
  await enqueue(one, "t1");
  expect(await ready(one)).toBe(1);
  const foreign = [
    "hello",
    "",
    "c",
    "c1 AAAAAAAAAAAAAAAAAAAAAA {}",
    "r",
    "r[1]",
    "r[999999999999]",
    "r[-1]",
    `r${"[".repeat(10_000)}`,
    `r[${"1,".repeat(60_000)}1]`,
    "p",
    "x",
    "c9 newer",
  ];
  const sequences: number[] = [];
  for (const message of foreign) sequences.push(await js(log, message));
  await enqueue(one, "t2");
  expect(await ready(one)).toBe(2);
  const two = open(prefix);
  expect(await ready(two)).toBe(2);
  for (const { reports } of [one, two]) {
    const named = reports.map(({ level, fields }) => ({ level, position: fields?.["position"] }));
    // Parts and fillers mean nothing by themselves, and are no damage.
    const harmless = new Set([sequences[10], sequences[11]]);
    expect(named).toEqual(
      sequences.filter((sequence) => !harmless.has(sequence)).map((position) => ({ level: "error", position })),
    );
  }
  expect(await drain(two)).toEqual(["t1", "t2"]);
  expect(await ready(one)).toBe(0);
}, 30_000);

test("a flood of parts that no commit names is not held", async () => {
  const prefix = namespace();
  const one = open(prefix);
  await enqueue(one, "t1");
  const part = Buffer.alloc(1_000_000, "p");
  await Promise.all(Array.from({ length: 100 }, () => js(`${prefix}.log.default`, part)));
  collect();
  const before = process.memoryUsage().arrayBuffers;
  const two = open(prefix);
  expect(await ready(two)).toBe(1);
  collect();
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(90_000_000);
}, 60_000);

test("foreign and damaged heads of checkpoints stand in nobody's way", async () => {
  const prefix = namespace();
  const one = open(prefix, { checkpointBytes: 2_000 });
  for (let n = 0; n < 40; n++) await enqueue(one, `t${n}`);
  const head = `${prefix}.checkpoint.default.head`;
  await expect
    .poll(async () => (await manager.streams.info(`${prefix}-checkpoint-default`)).state.messages)
    .toBeGreaterThan(1);
  const whole = await manager.streams.getMessage(`${prefix}-checkpoint-default`, { last_by_subj: head });
  const text = Buffer.from(whole?.data ?? []).toString();
  const forged = JSON.parse(text) as { position: number };
  for (const message of [
    "hello",
    "null",
    "{}",
    JSON.stringify({ ...forged, position: 1e15 }),
    JSON.stringify({ ...forged, version: 9 }),
    JSON.stringify({ version: 1, position: 1, parts: [1, 1, 1], sha256: "" }),
  ])
    await js(head, message);
  const two = open(prefix, { checkpointBytes: 2_000 });
  expect(await ready(two)).toBe(40);
  expect(two.reports.length).toBeGreaterThan(0);
  for (let n = 40; n < 80; n++) await enqueue(two, `t${n}`);
  // A checkpoint came after them.
  await expect
    .poll(
      async () => {
        const last = await manager.streams.getMessage(`${prefix}-checkpoint-default`, { last_by_subj: head });
        return readHead(last?.data ?? new Uint8Array(0), "s")?.position ?? 0;
      },
      { timeout: 10_000 },
    )
    .toBeGreaterThan(forged.position);
  const three = open(prefix);
  expect(await ready(three)).toBe(80);
}, 60_000);

test("an operator purges the log: who has the state writes the checkpoint that lacks, and new processes start", async () => {
  const prefix = namespace();
  const [worker, producer] = [open(prefix), open(prefix)];
  await enqueue(producer, "t1", "t2", "t3");
  expect([await ready(worker), await ready(producer)]).toEqual([3, 3]);
  // A worker that waits, and does nothing else.
  const waiting = worker
    .taskQueue()
    .reserve({ queues: ["other"], limit: 1, leaseMs: 60_000, waitMs: 20_000, worker: "w" })
    .catch(() => []);
  await manager.streams.purge(`${prefix}-log-default`);
  await producer.close();
  const late = open(prefix);
  expect(await ready(late)).toBe(3);
  expect(worker.reports).toContainEqual(
    expect.objectContaining({ level: "warn", message: expect.stringContaining("checkpoint") }),
  );
  await enqueue(late, "t4");
  expect(await drain(late)).toEqual(["t1", "t2", "t3", "t4"]);
  await worker.close();
  await waiting;
}, 60_000);

test("lists of parts and heads are read whole or not at all, whatever they hold", () => {
  for (let seed = 1; seed <= 3_000; seed++) {
    const random = seededRandom(seed);
    const parts = readParts(mutateText("[11,12,13,14]", random).value, 20);
    if (parts !== undefined)
      for (const part of parts) expect(part >= 1 && part < 20 && Number.isSafeInteger(part)).toBe(true);
    const head = JSON.stringify({ version: 1, position: 7, parts: [1, 2, 3], sha256: "abc" });
    const read = readHead(new TextEncoder().encode(mutateText(head, random).value), "s");
    if (read !== undefined)
      expect(Number.isSafeInteger(read.position) && read.parts.every(Number.isSafeInteger)).toBe(true);
  }
});

/** `OMNIQ_TEST_MUTATIONS=10000` sends them all. */
const mutations = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 300);
test(`${mutations} mutations of messages between real ones: readers live and late agree, and every task is done`, async () => {
  const prefix = namespace();
  const log = `${prefix}.log.default`;
  const live = open(prefix, { checkpointBytes: 100_000 });
  const large = open(prefix);
  await live.taskQueue().enqueue([{ tasks: [task("large", "x".repeat(1_048_000))] }, { tasks: [task("t0")] }]);
  expect(await ready(live)).toBe(2);
  const samples: Uint8Array[] = [];
  const { state } = await manager.streams.info(`${prefix}-log-default`);
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage(`${prefix}-log-default`, { seq });
    if (message !== null) samples.push(message.data);
  }
  const ids = ["large", "t0"];
  for (let seed = 1; seed <= mutations; seed++) {
    const random = seededRandom(seed);
    // The large ones are few: most of the damage goes to what says what a message is.
    const sample = samples[random() < 0.02 ? 0 : samples.length - 1] as Uint8Array;
    connection.publish(log, mutateBytes(sample, random).value.slice(0, 1_000_000));
    if (seed % 100 !== 0) continue;
    const id = `t${seed}`;
    ids.push(id);
    await enqueue(seed % 200 === 0 ? live : large, id);
    expect(await ready(live)).toBe(ids.length);
  }
  const late = open(prefix);
  expect(await ready(late)).toBe(ids.length);
  expect(await drain(late)).toEqual(ids.sort());
  expect(await ready(large)).toBe(0);
  expect(live.reports.length).toBeGreaterThan(mutations / 3);
}, 600_000);
