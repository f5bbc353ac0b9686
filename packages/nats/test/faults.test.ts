// Servers die and come back, leaders move, clients are cut off: nothing that was acknowledged is lost, nothing completes twice, and work goes on by
// itself, with checkpoints and purges meanwhile.
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runSuite } from "@omniq/conformance";
import { nats } from "@omniq/nats";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, expect, test } from "vitest";
import { losesReplicas } from "../src/durability.ts";
import { Proxy } from "./proxy.ts";
import { runThrough } from "./run-through.ts";
import { TestServer } from "./server.ts";

const running: TestServer[] = [];
const proxies: Proxy[] = [];
afterEach(async () => {
  await Promise.all(proxies.splice(0).map((proxy) => proxy.stop()));
  await Promise.all(running.splice(0).map((server) => server.stop()));
});
async function startServer(): Promise<TestServer> {
  const server = await TestServer.start();
  running.push(server);
  return server;
}
async function startCluster(): Promise<readonly TestServer[]> {
  const servers = await TestServer.startCluster();
  running.push(...servers);
  return servers;
}

/** The node that leads the log, by its number. */
async function leaderOf(servers: readonly string[], prefix: string): Promise<number> {
  const connection = await connect({ servers: [...servers] });
  const { streams } = await jetstreamManager(connection, { checkAPI: false });
  const { cluster } = await streams.info(`${prefix}-log-default`);
  await connection.close();
  return Number(cluster?.leader?.slice(1));
}

/** Resolves with true when all replicas of both streams have been up to date for a while, with false when they are not in a minute. */
async function areCurrent(servers: readonly string[], prefix: string): Promise<boolean> {
  const connection = await connect({ servers: [...servers] });
  const { streams } = await jetstreamManager(connection, { checkAPI: false });
  const isCurrent = async (stream: string): Promise<boolean> => {
    const { cluster } = await streams.info(`${prefix}-${stream}-default`);
    const replicas = cluster?.replicas ?? [];
    return replicas.length === 2 && replicas.every(({ current, offline, lag = 0 }) => current && !offline && lag < 100);
  };
  let times = 0;
  for (const until = Date.now() + 60_000; times < 8 && Date.now() < until; await sleep(500)) {
    const all = await Promise.all([isCurrent("log"), isCurrent("checkpoint")]).catch(() => [false]);
    times = all.every(Boolean) ? times + 1 : 0;
  }
  await connection.close();
  return times === 8;
}

test("the kit's cases of outage and durability, with a server that is killed", { timeout: 400_000 }, async () => {
  const server = await startServer();
  const report = await runSuite({
    adapter: nats,
    options: (prefix) => ({ servers: [server.url], prefix }),
    outage: { stop: () => server.kill(), start: () => server.start() },
    reopen: async () => {
      await server.kill();
      await server.start();
    },
    rules: ["outage", "enqueue-durable"],
  });
  expect(report.failed).toEqual([]);
  expect(report.passed).toBeGreaterThanOrEqual(10);
});

test("a server is killed and started again three times", { timeout: 200_000 }, async () => {
  const server = await startServer();
  const options = { servers: [server.url], prefix: "faults", checkpointBytes: 30_000 };
  await runThrough({
    options,
    count: 600,
    disturb: async () => {
      for (let round = 0; round < 3; round++) {
        await sleep(1_500);
        await server.kill();
        await sleep(round * 400);
        await server.start();
      }
      await sleep(1_500);
    },
  });
});

test(
  "the producer and a worker are cut off without a word, for longer than a lease; connections are cut over and over",
  { timeout: 200_000 },
  async () => {
    const server = await startServer();
    const [producer, worker] = [await Proxy.start(server.port), await Proxy.start(server.port)];
    proxies.push(producer, worker);
    const options = { servers: [server.url], prefix: "parted", checkpointBytes: 30_000, giveUpMs: 30_000 };
    await runThrough({
      options,
      behind: { producer: [producer.url], worker: [worker.url] },
      count: 600,
      disturb: async () => {
        await sleep(1_000);
        for (const proxy of [worker, producer]) {
          proxy.hush();
          await sleep(7_000);
          proxy.speak();
          proxy.cut();
          await sleep(1_000);
        }
        for (let round = 0; round < 20; round++) {
          (round % 2 === 0 ? worker : producer).cut();
          await sleep(150);
        }
      },
    });
  },
);

test(
  "a first call while the server is away waits, and goes on by itself when it is back",
  { timeout: 60_000 },
  async () => {
    const server = await startServer();
    const open = (giveUpMs: number) =>
      nats({ servers: [server.url], prefix: "first", giveUpMs, durabilityWarning: false });
    const [patient, impatient] = [open(30_000), open(300)];
    await Promise.all([patient.check(), impatient.check()]);
    await server.kill();
    await sleep(200);
    const counting = patient.taskQueue().counts(["q"]);
    // Who is refused at once and asks again at once keeps everything else of the process from running.
    let others = 0;
    const timer = setInterval(() => others++, 10);
    await expect(impatient.taskQueue().counts(["q"])).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE" });
    clearInterval(timer);
    expect(others).toBeGreaterThan(0);
    await server.start();
    expect((await counting)["q"]).toMatchObject({ ready: 0 });
    await patient.close();
    await impatient.close();
  },
);

test(
  "a server that comes back without what it had acknowledged since the checkpoint: work goes on from there",
  { timeout: 100_000 },
  async () => {
    const server = await startServer();
    const copy = mkdtempSync(join(tmpdir(), "omniq-nats-copy-"));
    const options = { servers: [server.url], prefix: "tail", checkpointBytes: 5_000 };
    const task = (id: string) => ({
      id,
      name: "n",
      queue: "q",
      payload: "p".repeat(500),
      envelope: "{}",
      priority: 0,
      maxAttempts: 3,
      resultTtlMs: null,
      rememberMs: 60_000,
    });
    const backend = nats(options);
    const queue = backend.taskQueue();
    for (let n = 0; n < 20; n++) await queue.enqueue([{ tasks: [task(`kept-${n}`)] }]);
    await server.kill("SIGTERM");
    server.copyStore(copy);
    await server.start();
    const until = Date.now() + 20_000;
    for (;;) {
      const answer = await queue.enqueue([{ tasks: [task("lost")] }]).catch(() => undefined);
      if (answer !== undefined) break;
      if (Date.now() > until) throw new Error("the queue did not come back");
      await sleep(50);
    }
    await server.kill("SIGTERM");
    server.restoreStore(copy);
    rmSync(copy, { recursive: true });
    await server.start();
    const other = nats(options);
    expect((await other.taskQueue().counts(["q"]))["q"]).toMatchObject({ ready: 20 });
    // The process that had seen the lost one goes back to what there is.
    await queue.enqueue([{ tasks: [task("after")] }]);
    expect((await queue.counts(["q"]))["q"]).toMatchObject({ ready: 21 });
    expect((await other.taskQueue().counts(["q"]))["q"]).toMatchObject({ ready: 21 });
    await backend.close();
    await other.close();
  },
);

const replicated = { replicas: 3, checkpointBytes: 30_000, giveUpMs: 30_000 };

test("a cluster of three with three replicas: nodes are killed, the leader first", { timeout: 300_000 }, async () => {
  const cluster = await startCluster();
  await sleep(3_000);
  const servers = cluster.map(({ url }) => url);
  const prefix = `cluster_${randomUUID().slice(0, 6)}`;
  const backend = nats({ servers, prefix, replicas: 3, durabilityWarning: false });
  const { serverVersion } = await backend.durability();
  // What an older server lacks when it comes back is its own fault, and known.
  const comesBack = !losesReplicas(serverVersion);
  expect(await backend.durability()).toMatchObject({ replicas: 3, survives: comesBack ? "machine" : "process" });
  await backend.close();
  let over = false;
  await runThrough({
    options: { servers, prefix, ...replicated },
    count: 600,
    // Longer than elections: a task whose lease runs out three times is a dead letter.
    leaseMs: 20_000,
    disturb: async () => {
      await sleep(2_000);
      if (over) return;
      const leader = await leaderOf(servers, prefix);
      for (let index = 0; index < 3 && !over; index++) {
        const server = cluster[(leader + index) % 3] as TestServer;
        await server.kill();
        await sleep(1_000);
        if (comesBack) await server.start();
        // Three replicas survive the loss of one: the next may go when this one has all again.
        over = !comesBack || !(await areCurrent(servers, prefix));
      }
    },
  });
});

test(
  "a cluster of three with three replicas: the leaders of both streams are moved",
  { timeout: 300_000 },
  async () => {
    const cluster = await startCluster();
    await sleep(3_000);
    const servers = cluster.map(({ url }) => url);
    const prefix = `moved_${randomUUID().slice(0, 6)}`;
    const connection = await connect({ servers });
    let moved = 0;
    await runThrough({
      options: { servers, prefix, ...replicated },
      count: 600,
      // Longer than elections: a task whose lease runs out three times is a dead letter.
      leaseMs: 20_000,
      disturb: async () => {
        for (let round = 0; round < 6; round++) {
          await sleep(1_000);
          for (const stream of ["log", "checkpoint"]) {
            const subject = `$JS.API.STREAM.LEADER.STEPDOWN.${prefix}-${stream}-default`;
            const answer = await connection.request(subject, "", { timeout: 5_000 }).catch(() => undefined);
            // A stream that has no leader at the moment answers with nothing.
            if (answer?.string().includes('"success":true') === true) moved++;
          }
        }
      },
    });
    await connection.close();
    expect(moved).toBeGreaterThanOrEqual(6);
  },
);
