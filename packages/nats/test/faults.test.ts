// The server dies and comes back: nothing that was acknowledged is lost, nothing completes twice, and work goes on by itself.
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runSuite } from "@omniq/conformance";
import { defineTask, OmniQ, typeOnly, type Logger } from "@omniq/core";
import { nats, type NatsOptions } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { TestServer } from "./server.ts";

const running: TestServer[] = [];
afterEach(async () => {
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

const silent = (): void => {};
/** Outages are the point here; what workers say of them is no news. */
const quiet: Logger = { debug: silent, info: silent, warn: silent, error: silent };

/** Runs tasks while `disturb` does its worst, and checks that each completed once. */
async function runThrough(options: NatsOptions, count: number, disturb: () => Promise<void>): Promise<void> {
  const completed = new Map<number, number>();
  const work = defineTask({
    name: "work",
    input: typeOnly<{ readonly n: number }>(),
    retry: { maxAttempts: 20, backoff: "fixed", delayMs: 50 },
    run: async ({ n }) => {
      await sleep(5);
      return n * 2;
    },
  });
  // Each has a process's state of its own.
  const make = (): OmniQ => new OmniQ({ taskQueue: nats(options), logger: quiet });
  const producer = make();
  const workers = [make(), make()];
  const observer = make();
  const started = workers.map((omniq) => omniq.worker({ tasks: [work], concurrency: 10, leaseMs: 5_000 }));
  await Promise.all(started.map((worker) => worker.start()));
  const ids: string[] = [];
  let over = false;
  const producing = (async () => {
    for (let n = 0; n < count; n++) {
      const call = work.with({ n }, { id: `t-${n}` });
      for (;;) {
        try {
          const [handle] = await producer.enqueueMany([call]);
          ids.push((handle as { id: string }).id);
          break;
        } catch (error) {
          // Whoever hears that the outcome is unknown asks again with the same id.
          if ((error as { retryable?: boolean }).retryable !== true) throw error;
        }
      }
    }
    over = true;
  })();
  await disturb();
  await producing;
  expect(over).toBe(true);
  const results = observer.components.resultStorage!;
  for (const [n, id] of ids.entries()) {
    let found = await results.wait([{ taskId: id, run: 1 }], 60_000).catch(() => undefined);
    found ??= await results.wait([{ taskId: id, run: 1 }], 60_000);
    expect(found[0]?.status).toBe("completed");
    completed.set(n, (completed.get(n) ?? 0) + 1);
  }
  expect(completed.size).toBe(count);
  const counts = await observer.queue("default").counts();
  expect(counts).toMatchObject({ ready: 0, active: 0, failed: 0, scheduled: 0, unrecorded: 0 });
  await Promise.all(started.map((worker) => worker.stop()));
  await Promise.all([producer, observer, ...workers].map((omniq) => omniq.close()));
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

test("killed and started again three times, with checkpoints and purges meanwhile", { timeout: 200_000 }, async () => {
  const server = await startServer();
  const options = { servers: [server.url], prefix: "faults", checkpointBytes: 60_000 };
  await runThrough(options, 600, async () => {
    for (let round = 0; round < 3; round++) {
      await sleep(600);
      await server.kill();
      await sleep(round * 400);
      await server.start();
    }
  });
});

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

test("a cluster of three with three replicas: a node is killed, the leader too", { timeout: 300_000 }, async () => {
  const cluster = await startCluster();
  await sleep(3_000);
  const servers = cluster.map(({ url }) => url);
  const prefix = `cluster_${randomUUID().slice(0, 6)}`;
  await runThrough({ servers, prefix, replicas: 3, checkpointBytes: 60_000, giveUpMs: 30_000 }, 300, async () => {
    for (const server of cluster) {
      await sleep(1_000);
      await server.kill();
      await sleep(1_000);
      await server.start();
      await sleep(4_000);
    }
  });
});
