// `node dist/nats.js [TASKS]`: OmniQ on NATS, results stored, beside a work queue made by hand (JetStream pull consumer, no results), in one run on
// one server: enqueue, drain by one and two processes, pick-up. Checks that each task ran once. Prints ratios.
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
  /** Takes all that is there, which must be `count` tasks; without it what other processes leave. Answers with the numbers in the tasks that ran. */
  drain(concurrency: number, count?: number): Promise<readonly number[]>;
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
  const omniq = new OmniQ({ taskQueue: nats({ servers, prefix, durabilityWarning: false }) });
  let ran: number[] = [];
  const work = defineTask({
    name: "work",
    input,
    run: ({ n }) => {
      ran.push(n);
      return n * 2;
    },
  });
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
      ran = [];
      await omniq.worker({ tasks: [work], concurrency }).drain();
      return ran;
    },
    async pickUp(rounds) {
      const waits: number[] = [];
      let started: (at: number) => void = () => {};
      const clock = defineTask({ name: "clock", run: () => started(now()) });
      const consumer = new OmniQ({ taskQueue: nats({ servers, prefix, durabilityWarning: false }) });
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
    async drain(concurrency, count = Number.POSITIVE_INFINITY) {
      const consumer = await js.consumers.get(`${prefix}-work`, "workers");
      const messages = await consumer.consume({ max_messages: Math.max(concurrency, 2) });
      const ran: number[] = [];
      let done = 0;
      let active = 0;
      let free: () => void = () => {};
      const handle = async (message: JsMsg): Promise<void> => {
        const { n } = message.json<{ n: number }>();
        ran.push(n);
        await Promise.resolve(n * 2);
        // As a queue does it: what was acknowledged is known to be over.
        await message.ackAck();
        active--;
        done++;
        free();
      };
      // A process among several looks whether anything is left whenever it has nothing to do.
      const idle = setInterval(() => {
        if (active > 0 || count !== Number.POSITIVE_INFINITY) return;
        void consumer.info().then(({ num_pending, num_ack_pending }) => {
          if (num_pending + num_ack_pending === 0) messages.stop();
        });
      }, 20);
      for await (const message of messages) {
        active++;
        void handle(message);
        while (active >= concurrency) await new Promise<void>((resolve) => (free = resolve));
        if (done + active >= count) break;
      }
      while (active > 0) await new Promise<void>((resolve) => (free = resolve));
      clearInterval(idle);
      messages.stop();
      return ran;
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

/** Throws unless each of `count` tasks ran once. */
function checkOnce(contender: Contender, ran: readonly number[], count: number): void {
  const distinct = new Set(ran).size;
  if (ran.length !== count || distinct !== count)
    throw new Error(`${contender.name}: of ${count} tasks ${distinct} ran, ${ran.length} times in all`);
}

async function drainRate(contender: Contender, concurrency: number, count: number): Promise<number> {
  let ran: readonly number[] = [];
  const found = await rate(count, async () => {
    ran = await contender.drain(concurrency, count);
  });
  checkOnce(contender, ran, count);
  return found;
}

/** Two processes of their own drain what is there. */
async function drainByTwo(contender: Contender, prefix: string, count: number): Promise<number> {
  const program = fileURLToPath(import.meta.url);
  let ran: number[] = [];
  const found = await rate(count, async () => {
    const ends = await Promise.all(
      [1, 2].map(() =>
        promisify(execFile)(process.execPath, [program, "drain", contender.name, prefix], {
          maxBuffer: 64 * 1024 * 1024,
        }),
      ),
    );
    ran = ends.flatMap(({ stdout }) => JSON.parse(stdout) as number[]);
  });
  checkOnce(contender, ran, count);
  return found;
}

const [first, second, third] = process.argv.slice(2);
if (first === "drain" && second !== undefined) {
  const contender = second === "OmniQ" ? ours(third as string) : await byHand(third as string);
  const ran = await contender.drain(100);
  process.stdout.write(JSON.stringify(ran), () => process.exit());
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
    const [own, other] = [`${prefix}_${repeat}`, `${prefix}_h${repeat}`];
    for (const [contender, name] of [[ours(own), own] as const, [await byHand(other), other] as const]) {
      note("enqueue, 100 callers, a second", contender, await rate(count, () => contender.enqueueConcurrent(count)));
      note("drain at 100, a second", contender, await drainRate(contender, 100, count));
      note("enqueue in bulk, a second", contender, await rate(count, () => contender.enqueueBulk(count)));
      note("drain at 10, a second", contender, await drainRate(contender, 10, count));
      const few = Math.min(count, 2_000);
      await contender.enqueueBulk(few);
      note("drain at 1, a second", contender, await drainRate(contender, 1, few));
      note("pick-up, ms", contender, median(await contender.pickUp(100)));
      await contender.enqueueBulk(count);
      const byTwo = await drainByTwo(contender, name, count);
      note("drain at 100 by two processes (start included), a second", contender, byTwo);
      await contender.close();
    }
  }
  for (const [what, row] of rows) {
    const [own, other] = [median(row.ours), median(row.theirs)];
    const digits = what.endsWith("ms") ? 2 : 0;
    console.log(
      `${what}: OmniQ ${own.toFixed(digits)}, by hand ${other.toFixed(digits)}, ratio ${(own / other).toFixed(2)}`,
    );
  }
  await removeStreams(prefix);
  process.exit();
}
