// A cluster's slot that moves from node to node while tasks are enqueued, waited for and settled: nothing is lost, and nothing is done twice.
// OMNIQ_TEST_MIGRATIONS says how often it moves.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { isOmniQError, type Lease } from "@omniq/core";
import { redis } from "@omniq/redis";
import { masterOf, startCluster, type Node } from "./nodes.ts";
import { task } from "./tasks.ts";

const nodes: Node[] = [];
afterAll(() => Promise.all(nodes.map((node) => node.remove())));
const migrations = Number(process.env["OMNIQ_TEST_MIGRATIONS"] ?? 2);
/** A namespace has few keys, so they go one by one: the slot is in two places for long. */
const keysAtOnce = 1;
const stepMs = 15;
/** So much goes on between two moves. */
const acceptedBetween = 100;

/** Moves a slot with its keys, in the steps of `redis-cli`. */
async function migrate(clients: readonly Redis[], slot: number, from: number, to: number): Promise<number> {
  const [source, target] = [clients[from], clients[to]] as [Redis, Redis];
  const [sourceId, targetId] = [String(await source.cluster("MYID")), String(await target.cluster("MYID"))];
  await target.cluster("SETSLOT", slot, "IMPORTING", sourceId);
  await source.cluster("SETSLOT", slot, "MIGRATING", targetId);
  let moved = 0;
  for (;;) {
    const keys = (await source.cluster("GETKEYSINSLOT", slot, keysAtOnce)) as string[];
    if (keys.length === 0) break;
    const port = (nodes[to] as Node).port;
    await source.call("MIGRATE", "127.0.0.1", port, "", 0, 20_000, "KEYS", ...keys);
    moved += keys.length;
    await sleep(stepMs);
  }
  for (const client of [target, source, ...clients]) await client.cluster("SETSLOT", slot, "NODE", targetId);
  return moved;
}

test(
  `a slot that moves ${migrations} times under load loses nothing that was accepted, and doubles nothing`,
  { timeout: 60_000 + migrations * 20_000 },
  async () => {
    nodes.push(...(await startCluster()));
    const cluster = nodes.map((node) => `127.0.0.1:${node.port}`);
    const clients = nodes.map((node) => new Redis(node.url, { protocol: 2 }));
    const backends = [0, 1, 2].map(() => redis({ cluster, prefix: "moving" }));
    const [producing, working, waiting] = backends.map((backend) => backend.taskQueue()) as [Queue, Queue, Queue];
    const accepted = new Set<string>();
    const settled: string[] = [];
    let [refused, longestMs, latest] = [0, 0, performance.now()];
    let [producingOn, workingOn] = [true, true];
    /** The answer, or `undefined` where the call may be made again. */
    const tried = async <T>(call: () => Promise<T>): Promise<T | undefined> => {
      try {
        return await call();
      } catch (error) {
        assert.ok(isOmniQError(error) && error.retryable, String(error));
        refused += 1;
        return undefined;
      }
    };
    const produce = async (name: string): Promise<void> => {
      for (let number = 0; producingOn; number++) {
        const tasks = Array.from({ length: 1 + (number % 5) }, (_, index) =>
          // Plain ones, and such as need other keys.
          task({ id: `${name}-${number}-${index}`, ...(number % 7 === 0 ? { priority: 5 } : {}) }),
        );
        // The same ids until they are known to be stored.
        while ((await tried(() => producing.enqueue([{ tasks }]))) === undefined) await sleep(20);
        for (const { id } of tasks) accepted.add(id);
        await sleep(2);
      }
    };
    const work = async (queue: Queue, name: string): Promise<void> => {
      while (workingOn) {
        const request = { queues: ["q"], limit: 20, leaseMs: 60_000, waitMs: 300, worker: name };
        const leases = (await tried(() => queue.reserve(request))) ?? [];
        if (leases.length === 0) continue;
        let states: readonly string[] | undefined;
        while (states === undefined) states = await tried(() => queue.settle(leases.map(completed)));
        for (const [index, state] of states.entries())
          if (state === "settled") settled.push((leases[index] as Lease).taskId);
        const now = performance.now();
        [longestMs, latest] = [Math.max(longestMs, now - latest), now];
      }
    };
    try {
      const slot = Number(await clients[0]?.cluster("KEYSLOT", "{moving}:t"));
      const producers = ["a", "b", "c", "d"].map(produce);
      const workers = [work(working, "w"), work(waiting, "x")];
      const all = Promise.all([...producers, ...workers]);
      const moves = async (): Promise<number> => {
        let moved = 0;
        let at = masterOf(slot);
        for (let move = 0; move < migrations; move++) {
          const wanted = accepted.size + acceptedBetween;
          while (accepted.size < wanted) await sleep(10);
          const to = (at + 1) % nodes.length;
          moved += await migrate(clients, slot, at, to);
          at = to;
        }
        const wanted = accepted.size + acceptedBetween;
        while (accepted.size < wanted) await sleep(10);
        return moved;
      };
      const moved = (await Promise.race([moves(), all])) as number;
      producingOn = false;
      await Promise.all(producers);
      for (let tries = 0; settled.length < accepted.size && tries < 200; tries++) await sleep(50);
      workingOn = false;
      await all;
      const done = new Set(settled);
      const lost = [...accepted].filter((id) => !done.has(id));
      const told =
        `${migrations} moves of ${moved} keys: ${accepted.size} accepted, ${lost.length} lost, ${settled.length - done.size} doubled, ` +
        `${refused} calls refused, longest pause ${Math.round(longestMs)} ms`;
      if (migrations > 2) console.log(told);
      assert.ok(moved >= migrations * 4, told);
      assert.deepEqual(lost, [], told);
      assert.equal(settled.length, done.size, told);
      assert.deepEqual(
        [...done].filter((id) => !accepted.has(id)),
        [],
        told,
      );
      const { ready, active, scheduled } = (await producing.counts(["q"]))["q"] ?? {};
      assert.deepEqual([ready, active, scheduled], [0, 0, 0], told);
      const results = await backends[0]?.resultStorage().get([...done].slice(-500));
      assert.ok(
        results?.every((result) => result?.value === "v"),
        told,
      );
    } finally {
      [producingOn, workingOn] = [false, false];
      for (const client of clients) client.disconnect();
      await Promise.all(backends.map((backend) => backend.close()));
    }
  },
);

type Queue = ReturnType<ReturnType<typeof redis>["taskQueue"]>;
function completed({ taskId, queue, token, run, attempt }: Lease) {
  return { taskId, queue, token, run, attempt, outcome: "completed", storeResult: true, value: "v" } as const;
}
