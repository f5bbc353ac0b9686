// `node dist/nats.js [TASKS]`: OmniQ on NATS beside a work queue made by hand (JetStream pull consumer, results stored in a key-value bucket or
// not at all), in one run on one server: enqueue, drain, pick-up. Prints ratios.
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { AckPolicy, jetstream, jetstreamManager, RetentionPolicy, type JsMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { nats } from "@omniq/nats";
import { median } from "./measure.ts";
import { removeStreams, servers } from "./nats-streams.ts";

const now = (): number => performance.timeOrigin + performance.now();
const encoder = new TextEncoder();
const input = typeOnly<{ readonly n: number }>();

interface Contender {
  readonly name: string;
  /** `count` tasks, 100 callers at a time, each resolved when its own is durable. */
  enqueueConcurrent(count: number): Promise<void>;
  enqueueBulk(count: number): Promise<void>;
  /** Takes all that is there. */
  drain(concurrency: number, count: number): Promise<void>;
  /** Milliseconds from the resolved enqueue of one task to the start of its handler, idle before. */
  pickUp(rounds: number): Promise<readonly number[]>;
  close(): Promise<void>;
}

async function inTurns(count: number, width: number, work: (index: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < count) await work(next++);
    }),
  );
}

function ours(prefix: string): Contender {
  const omniq = new OmniQ({ taskQueue: nats({ servers, prefix }) });
  const work = defineTask({ name: "work", input, run: ({ n }) => n * 2 });
  return {
    name: "OmniQ",
    enqueueConcurrent: (count) => inTurns(count, 100, (n) => omniq.enqueue(work, { n })),
    async enqueueBulk(count) {
      for (let from = 0; from < count; from += 1_000)
        await omniq.enqueueMany(
          Array.from({ length: Math.min(1_000, count - from) }, (_, n) => work.with({ n: from + n })),
        );
    },
    async drain(concurrency) {
      await omniq.worker({ tasks: [work], concurrency }).drain();
    },
    async pickUp(rounds) {
      const waits: number[] = [];
      let started: (at: number) => void = () => {};
      const clock = defineTask({ name: "clock", run: () => started(now()) });
      const consumer = new OmniQ({ taskQueue: nats({ servers, prefix }) });
      const worker = consumer.worker({ tasks: [clock] });
      await worker.start();
      for (let round = 0; round < rounds; round++) {
        await sleep(10);
        const begun = new Promise<number>((resolve) => (started = resolve));
        await omniq.enqueue(clock);
        const resolved = now();
        waits.push((await begun) - resolved);
      }
      await worker.stop();
      await consumer.close();
      return waits;
    },
    close: () => omniq.close(),
  };
}

/** The floor: no retries with delay, no priorities, no counts; acknowledged after the work, with no results. */
async function byHand(prefix: string): Promise<Contender> {
  const connection = await connect({ servers });
  const manager = await jetstreamManager(connection);
  const js = jetstream(connection);
  const subject = `${prefix}.work`;
  await manager.streams.add({ name: `${prefix}-work`, subjects: [subject], retention: RetentionPolicy.Workqueue });
  await manager.consumers.add(`${prefix}-work`, {
    durable_name: "workers",
    ack_policy: AckPolicy.Explicit,
    max_ack_pending: 10_000,
  });
  const publish = (n: number): Promise<unknown> => js.publish(subject, encoder.encode(JSON.stringify({ n })));
  return {
    name: "by hand",
    enqueueConcurrent: (count) => inTurns(count, 100, publish),
    enqueueBulk: (count) => inTurns(count, 1_000, publish),
    async drain(concurrency, count) {
      const consumer = await js.consumers.get(`${prefix}-work`, "workers");
      const messages = await consumer.consume({ max_messages: Math.max(concurrency, 2) });
      let done = 0;
      let active = 0;
      let free: () => void = () => {};
      const handle = async (message: JsMsg): Promise<void> => {
        const { n } = message.json<{ n: number }>();
        await Promise.resolve(n * 2);
        // As a queue does it: what was acknowledged is known to be over.
        await message.ackAck();
        active--;
        done++;
        free();
      };
      for await (const message of messages) {
        active++;
        void handle(message);
        while (active >= concurrency) await new Promise<void>((resolve) => (free = resolve));
        if (done + active >= count) break;
      }
      while (done < count) await new Promise<void>((resolve) => (free = resolve));
      messages.stop();
    },
    async pickUp(rounds) {
      const waits: number[] = [];
      let started: (at: number) => void = () => {};
      const consumer = await js.consumers.get(`${prefix}-work`, "workers");
      const messages = await consumer.consume({
        callback: (message) => {
          started(now());
          message.ack();
        },
      });
      for (let round = 0; round < rounds; round++) {
        await sleep(10);
        const begun = new Promise<number>((resolve) => (started = resolve));
        await publish(round);
        const resolved = now();
        waits.push((await begun) - resolved);
      }
      messages.stop();
      return waits;
    },
    close: () => connection.close(),
  };
}

async function rate(count: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return count / ((performance.now() - started) / 1_000);
}

const [first, second, third] = process.argv.slice(2);
if (first === "drain" && second !== undefined) {
  // A process of its own that drains what is there.
  const contender = second === "OmniQ" ? ours(third as string) : await byHand(third as string);
  await contender.drain(100, Number.POSITIVE_INFINITY);
  process.exit();
} else {
  const count = Number(first ?? 10_000);
  const prefix = `bench_${randomUUID().slice(0, 8)}`;
  const rows = new Map<string, { ours: number[]; theirs: number[] }>();
  const note = (what: string, contender: Contender, value: number): void => {
    const row = rows.get(what) ?? { ours: [], theirs: [] };
    rows.set(what, row);
    (contender.name === "OmniQ" ? row.ours : row.theirs).push(value);
  };
  for (let repeat = 0; repeat < 3; repeat++) {
    for (const contender of [ours(`${prefix}_${repeat}`), await byHand(`${prefix}_h${repeat}`)]) {
      note("enqueue, 100 callers, a second", contender, await rate(count, () => contender.enqueueConcurrent(count)));
      note("drain at 100, a second", contender, await rate(count, () => contender.drain(100, count)));
      note("enqueue in bulk, a second", contender, await rate(count, () => contender.enqueueBulk(count)));
      note("drain at 10, a second", contender, await rate(count, () => contender.drain(10, count)));
      const few = Math.min(count, 2_000);
      await contender.enqueueBulk(few);
      note("drain at 1, a second", contender, await rate(few, () => contender.drain(1, few)));
      note("pick-up, ms", contender, median(await contender.pickUp(100)));
      if (contender.name === "OmniQ") {
        await contender.enqueueBulk(count);
        const program = fileURLToPath(import.meta.url);
        const drainer = (): Promise<unknown> =>
          promisify(execFile)(process.execPath, [program, "drain", "OmniQ", `${prefix}_${repeat}`]);
        note(
          "drain at 100 by two processes (start included), a second",
          contender,
          await rate(count, async () => void (await Promise.all([drainer(), drainer()]))),
        );
      }
      await contender.close();
    }
  }
  for (const [what, row] of rows) {
    const [own, other] = [median(row.ours), median(row.theirs)];
    const digits = what.endsWith("ms") ? 2 : 0;
    const beside =
      row.theirs.length === 0 ? "" : `, by hand ${other.toFixed(digits)}, ratio ${(own / other).toFixed(2)}`;
    console.log(`${what}: OmniQ ${own.toFixed(digits)}${beside}`);
  }
  await removeStreams(prefix);
  process.exit();
}
