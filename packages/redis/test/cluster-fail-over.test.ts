// A cluster's fail-over: the master that has the namespace is killed, its replica takes over, and work goes on by itself.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { isOmniQError, type Lease, type NewTask } from "@omniq/core";
import { redis } from "@omniq/redis";
import { addReplica, allKnown, masterOf, startCluster, type Node } from "./nodes.ts";

const nodes: Node[] = [];
afterAll(() => Promise.all(nodes.map((node) => node.remove())));

function task(id: string): NewTask {
  const shared = { name: "n", queue: "q", payload: "p", envelope: "e", priority: 0, maxAttempts: 3 };
  return { ...shared, id, resultTtlMs: 60_000, rememberMs: 60_000 };
}
/** Calls until the cluster has a master again; any other failure counts. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await call();
    } catch (error) {
      if (!(isOmniQError(error) && error.retryable) || tries > 200) throw error;
      await sleep(100);
    }
  }
}

test(
  "what a replica has is there after its master is killed, leases go on, and nothing comes twice",
  { timeout: 90_000 },
  async () => {
    const masters = await startCluster();
    nodes.push(...masters);
    nodes.push(...(await Promise.all(masters.map((master) => addReplica(master)))));
    await allKnown(nodes, 3);
    const backend = redis({ cluster: nodes.map((node) => `127.0.0.1:${node.port}`), prefix: "fail-over" });
    try {
      const queue = backend.taskQueue();
      const reserve = (limit: number): Promise<readonly Lease[]> =>
        queue.reserve({ queues: ["q"], limit, leaseMs: 60_000, waitMs: 0, worker: "w" });
      const ids = Array.from({ length: 20 }, (_, n) => `t${String(n).padStart(2, "0")}`);
      for (const id of ids) await queue.enqueue([{ tasks: [task(id)] }]);
      const held = await reserve(10);
      const any = new Redis((masters[0] as Node).url, { protocol: 2 });
      const slot = Number(await any.cluster("KEYSLOT", "{fail-over}:t"));
      any.disconnect();
      const master = masters[masterOf(slot)] as Node;
      const own = new Redis(master.url, { protocol: 2 });
      // A replica that has the last write has all before it.
      await own.set("{fail-over}:none", "1");
      assert.equal(await own.wait(1, 10_000), 1);
      own.disconnect();
      await master.kill();
      const rest = await patiently(() => reserve(100));
      assert.deepEqual([...held, ...rest].map((lease) => lease.taskId).sort(), ids);
      const settled = [...held, ...rest].map(({ taskId, queue: name, token, run, attempt }) => {
        const outcome = { outcome: "completed", storeResult: true, value: "v" } as const;
        return { taskId, queue: name, token, run, attempt, ...outcome };
      });
      assert.deepEqual(
        await patiently(() => queue.settle(settled)),
        settled.map(() => "settled"),
      );
      const results = await patiently(() => backend.resultStorage().get(ids));
      assert.ok(results.every((result) => result?.value === "v"));
      assert.deepEqual(await patiently(() => reserve(100)), []);
    } finally {
      await backend.close();
    }
  },
);
