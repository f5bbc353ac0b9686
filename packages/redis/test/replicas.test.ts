// A replica that stopped, with `waitReplicas`: what waits for it must not hold up who keeps a lease alive.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterEach, test } from "vitest";
import { isOmniQError } from "@omniq/core";
import { redis } from "@omniq/redis";
import { startNode, type Node } from "./nodes.ts";
import { task } from "./tasks.ts";

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const one of undo.splice(0).reverse()) await one();
});
async function own(...args: string[]): Promise<Node> {
  const node = await startNode(...args);
  undo.push(() => node.remove());
  return node;
}

test(
  "heartbeats go on while writes wait for a replica that stopped, so that no lease of three seconds is lost",
  { timeout: 60_000 },
  async () => {
    const master = await own();
    const replica = await own("--replicaof", "127.0.0.1", String(master.port), "--repl-diskless-sync-delay", "0");
    const client = new Redis(replica.url, { protocol: 2 });
    undo.push(() => client.disconnect());
    for (let tries = 0; !(await client.info("replication")).includes("master_link_status:up"); tries++) {
      assert.ok(tries < 300);
      await sleep(50);
    }
    client.disconnect();
    const backend = redis({ url: master.url, waitReplicas: 1 });
    undo.push(() => backend.close());
    const queue = backend.taskQueue();
    await queue.enqueue([{ tasks: [task({ id: "held" })] }]);
    const leaseMs = 3_000;
    const request = { queues: ["q"], limit: 1, leaseMs, waitMs: 0, worker: "w" };
    const held = await queue.reserve(request);
    assert.deepEqual(
      held.map((lease) => lease.taskId),
      ["held"],
    );
    await replica.kill();
    let writing = true;
    let refused = 0;
    const writes = ["a", "b"].map(async (name) => {
      for (let n = 0; writing; n++) {
        const tasks = [task({ id: `${name}${n}`, queue: "other" })];
        await assert.rejects(queue.enqueue([{ tasks }]), (error) => isOmniQError(error, "OMNIQ_OUTCOME_UNKNOWN"));
        refused += 1;
      }
    });
    const until = performance.now() + 1.5 * leaseMs;
    while (performance.now() < until) {
      const from = performance.now();
      const states = await queue.extend(held, leaseMs);
      assert.deepEqual(
        states.map(({ state }) => state),
        ["held"],
      );
      assert.ok(performance.now() - from < leaseMs - 500, "a heartbeat waited for the replica");
      await queue.sweep(100);
      await sleep(leaseMs / 3);
    }
    writing = false;
    await Promise.all(writes);
    assert.ok(refused > 0);
    assert.deepEqual(await queue.reserve(request), []);
  },
);
