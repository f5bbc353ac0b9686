// `node dist/redis.js [rounds]`: OmniQ beside BullMQ and bee-queue on one Redis of its own, in turn, in one run; server and client pinned to a core each.
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { median } from "./measure.ts";
import { canPin, serverTime, startServer, usedMemory } from "./redis-server.ts";
import { contestants, open, type ContestantName } from "./redis-contestants.ts";

const self = fileURLToPath(import.meta.url);
const [role, ...rest] = process.argv.slice(2);
const pinned = canPin;

type Rates = Record<string, number>;
type Measure = (name: ContestantName, port: number) => Promise<Rates>;

let made = 0;
const prefix = (): string => `bench${process.pid}${++made}`;
const perSecond = (count: number, started: number): number => count / ((performance.now() - started) / 1_000);
/** Median of microseconds per unit of work, so that one hiccup counts for nothing. */
async function paced(count: number, one: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const started = performance.now();
    await one();
    times.push(performance.now() - started);
  }
  return 1_000 / median(times);
}

/** Processor time of this process and of the server from here on, in µs. */
async function processorTime(client: Redis): Promise<() => Promise<{ own: number; server: number }>> {
  const [before, own] = [await serverTime(client), process.cpuUsage()];
  return async () => {
    const { user, system } = process.cpuUsage(own);
    return { own: user + system, server: (await serverTime(client)) - before };
  };
}

const producing: Measure = async (name, port) => {
  const queue = open(name, port, prefix());
  await queue.addOne(0);
  const serial = await paced(2_000, () => queue.addOne(1));
  const count = 20_000;
  let next = 0;
  const client = new Redis({ port });
  const spent = await processorTime(client);
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      while (next++ < count) await queue.addOne(next);
    }),
  );
  const concurrent = perSecond(count, started);
  const cpu = await spent();
  const before = await usedMemory(client);
  const bulkStarted = performance.now();
  await queue.addMany(50_000);
  const bulk = perSecond(50_000, bulkStarted);
  const bytes = ((await usedMemory(client)) - before) / 50_000;
  client.disconnect();
  await queue.close();
  return {
    "enqueue one by one /s": serial,
    "enqueue 100 callers /s": concurrent,
    "  its client µs a task": cpu.own / count,
    "  its server µs a task": cpu.server / count,
    "enqueue bulk /s": bulk,
    "bytes a waiting task": bytes,
  };
};

const draining: Measure = async (name, port) => {
  const rates: Rates = {};
  for (const [concurrency, count] of [
    [1, 4_000],
    [10, 15_000],
    [100, 30_000],
  ] as const) {
    const queue = open(name, port, prefix());
    await queue.addMany(count);
    let done = 0;
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    // The first tenth warms up; the clock runs for the rest.
    const warm = count / 10;
    let started = 0;
    const client = new Redis({ port });
    const spent = await processorTime(client);
    const worker = await queue.work(concurrency, (payload) => {
      done++;
      if (done === warm) started = performance.now();
      if (done === count) finish();
      return payload;
    });
    await finished;
    rates[`drain at ${concurrency} /s`] = perSecond(count - warm, started);
    const cpu = await spent();
    rates[`  client µs a task at ${concurrency}`] = cpu.own / count;
    rates[`  server µs a task at ${concurrency}`] = cpu.server / count;
    client.disconnect();
    await worker.stop();
    await queue.close();
  }
  return rates;
};

const waiting: Measure = async (name, port) => {
  const queue = open(name, port, prefix());
  let woken!: (at: number) => void;
  const worker = await queue.work(100, (payload) => {
    woken(performance.now());
    return payload;
  });
  const waits: number[] = [];
  for (let n = 0; n < 120; n++) {
    await sleep(10);
    const picked = new Promise<number>((resolve) => (woken = resolve));
    const started = performance.now();
    await queue.addOne(n);
    waits.push((await picked) - started);
  }
  woken = () => undefined;
  await queue.roundTrip(0);
  const count = 5_000;
  let next = 0;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: 100 }, async () => {
      while (next++ < count) await queue.roundTrip(next);
    }),
  );
  const trips = perSecond(count, started);
  await worker.stop();
  await queue.close();
  return { "pick-up ms": median(waits), "round trips with result /s": trips };
};

/** Two worker processes at 100 each; they share the client's core. */
const together: Measure = async (name, port) => {
  const own = prefix();
  const queue = open(name, port, own);
  const count = 30_000;
  await queue.addMany(count);
  const children = [0, 1].map(() => fork(self, ["child", name, String(port), own]));
  await Promise.all(children.map((child) => once(child, "message")));
  let done = 0;
  const finished = new Promise<void>((resolve) => {
    for (const child of children)
      child.on("message", (n: number) => {
        done += n;
        if (done >= count) resolve();
      });
  });
  const started = performance.now();
  for (const child of children) child.send("go");
  await finished;
  const rate = perSecond(count, started);
  for (const child of children) child.kill("SIGKILL");
  await queue.close();
  return { "drain by two processes /s": rate };
};

if (role === "child") {
  const [name, port, own] = rest as [ContestantName, string, string];
  const queue = open(name, Number(port), own);
  process.send?.(0);
  await once(process, "message");
  let done = 0;
  await queue.work(100, (payload) => {
    done++;
    return payload;
  });
  setInterval(() => {
    if (done > 0) process.send?.(done);
    done = 0;
  }, 20);
} else if (role !== "pinned" && pinned) {
  const child = spawn("taskset", ["-c", "1", process.execPath, self, "pinned", role ?? "3"], { stdio: "inherit" });
  const [code] = (await once(child, "exit")) as [number];
  process.exitCode = code;
} else {
  const rounds = Number((role === "pinned" ? rest[0] : role) ?? 3);
  const server = await startServer();
  const { client, port } = server;
  const seen = new Map<string, Map<ContestantName, number[]>>();
  try {
    for (let round = 0; round < rounds; round++) {
      for (const measure of [producing, draining, waiting, together]) {
        for (const name of round % 2 === 0 ? contestants : contestants.toReversed()) {
          for (const [what, value] of Object.entries(await measure(name, port))) {
            console.log(`${round + 1} ${name}: ${what.trim()} ${value.toFixed(2)}`);
            const row = seen.get(what) ?? new Map<ContestantName, number[]>();
            seen.set(what, row);
            row.set(name, [...(row.get(name) ?? []), value]);
          }
          await client.flushall();
        }
      }
    }
  } finally {
    server.stop();
  }
  console.log(`medians of ${rounds} rounds${pinned ? ", server and client pinned to a core each" : ", not pinned"}`);
  for (const [what, row] of seen) {
    const [ours = 0, bull = 0, bee = 0] = contestants.map((name) => median(row.get(name) ?? []));
    const better = /ms|bytes|µs/.test(what);
    const ratio = (theirs: number): string => (better ? theirs / ours : ours / theirs).toFixed(1);
    const show = (value: number): string => value.toFixed(value < 20 ? 2 : 0).padStart(8);
    console.log(
      `${what.padEnd(28)} OmniQ ${show(ours)}  BullMQ ${show(bull)} (${ratio(bull)} times)  bee-queue ${show(bee)} (${ratio(bee)} times)`,
    );
  }
}
