// Damage from a seed to all that a prefix holds: nothing throws what is no OmniQError, nothing spins, and every task that was not damaged is done.
// OMNIQ_TEST_MUTATIONS says how many; the gate runs a part.
import assert from "node:assert/strict";
import { mutateText, seededRandom } from "@omniq/conformance";
import type { Lease, NewTask, Settlement } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { removeKeys, url } from "./server.ts";

const inAll = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 120);
const inOneStore = 60;
const admin = new Redis(url, { protocol: 2 });
afterAll(() => admin.disconnect());

const queues = ["a", "b"];
const plain = { envelope: '{"v":1}', priority: 0, maxAttempts: 3, resultTtlMs: 60_000, rememberMs: 60_000 };
function task(id: string, given: Partial<NewTask> = {}): NewTask {
  return { id, name: "n", queue: "a", payload: `{"id":"${id}"}`, ...plain, ...given };
}
function ended({ taskId, queue, token, run, attempt }: Lease): Settlement {
  return { taskId, queue, token, run, attempt, outcome: "completed", storeResult: true, value: '"v"' };
}

/** Tasks of all kinds and states, results, events and schedules. Gives the ids of the tasks that are to be done. */
async function fill(backend: RedisBackend, seed: number): Promise<readonly string[]> {
  const queue = backend.taskQueue();
  const id = (kind: string, n: number): string => `${kind}${n}-${seed}`;
  const some = Array.from({ length: 8 }, (_, n) => n);
  const tasks = [
    ...some.map((n) => task(id("plain", n))),
    ...some.map((n) => task(id("late", n), { delayMs: 20 + n })),
    ...some.map((n) => task(id("ranked", n), { priority: n - 4, queue: "b" })),
    ...some.map((n) => task(id("grouped", n), { group: { key: `g${n % 3}`, limit: 1 + (n % 2) } })),
    ...some.map((n) => task(id("keyed", n), { deduplicate: { key: `k${n}`, mode: "keep" } })),
    ...some.map((n) => task(id("parent", n), { queue: "b" })),
  ];
  for (const each of tasks) await queue.enqueue([{ tasks: [each] }]);
  const children = some.map((n) =>
    task(id("child", n), { dependencies: [{ taskId: id("parent", n), onFailure: "run" }] }),
  );
  await queue.enqueue([{ tasks: children }]);
  const held = await queue.reserve({ queues, limit: 12, leaseMs: 300, waitMs: 0, worker: "w" });
  await queue.settle(held.slice(0, 4).map(ended));
  await queue.settle(held.slice(4, 6).map(({ taskId, queue: name, token, run, attempt }) => ({ taskId, queue: name, token, run, attempt, outcome: "retry", delayMs: 10, error: '"e"' }))); // prettier-ignore
  await backend.eventStorage().append(some.map((n) => ({ id: id("event", n), at: Date.now(), type: "started", taskId: "t", taskName: "n", queue: "a", run: 1, attempt: 1 }))); // prettier-ignore
  for (const n of some) await backend.scheduleStorage().put({ id: id("s", n), rule: "{}", template: "{}", nextAt: Date.now(), runs: 0, paused: false }, null); // prettier-ignore
  return [...tasks, ...children].map((each) => each.id);
}

/** Spoils one thing under the prefix; gives what was spoiled, as text in which the ids of tasks may stand. */
async function spoil(prefix: string, random: () => number): Promise<string> {
  const keys = (await admin.keys(`{${prefix}}:*`)).sort();
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  for (;;) {
    const key = pick(keys);
    const name = key.slice(prefix.length + 3);
    const type = await admin.type(key);
    if (type === "hash") {
      const fields = (await admin.hkeys(key)).sort();
      if (fields.length === 0) continue;
      const field = pick(fields);
      const value = (await admin.hget(key, field)) ?? "";
      // The name of the inbox and the layout's version are the prefix' root: without them nothing can be found.
      if (name === "m" && ["in", "version"].includes(field)) continue;
      // A queue may be paused or limited by its settings, whoever wrote them; a time to look may be any time to come.
      if (name === "q" && /^[mtl]/.test(field)) continue;
      await admin.hset(key, field, mutateText(value, random).value);
      return `${name} ${field} ${name.startsWith("c:") ? value : ""}`;
    }
    if (type === "list") {
      const index = Math.floor(random() * (await admin.llen(key)));
      const value = (await admin.lindex(key, index)) ?? "";
      await admin.lset(key, index, mutateText(value, random).value);
      return `${name} ${value}`;
    }
    if (type === "zset") {
      const members = await admin.zrange(key, 0, -1);
      const member = pick(members);
      const score = (await admin.zscore(key, member)) ?? "0";
      await admin.zrem(key, member);
      await admin.zadd(key, score, mutateText(member, random).value);
      return `${name} ${member}`;
    }
  }
}

for (let seed = 1; seed <= Math.ceil(inAll / inOneStore); seed++) {
  test(`${inOneStore} mutations from seed ${seed}`, { timeout: 60_000 }, async () => {
    const prefix = `omniq_mutated_${process.pid}_${seed}`;
    const random = seededRandom(seed);
    const backend = redis({ url, prefix });
    try {
      const ids = await fill(backend, seed);
      const spoiled: string[] = [];
      for (let n = 0; n < inOneStore; n++) spoiled.push(await spoil(prefix, random));
      const text = spoiled.join("\n");
      // A dependent goes with its parent, a group's task with the counts of its group, a key's with the key.
      const number = (id: string): string => `${id.replace(/^\D+/, "")}`;
      const shared = /(?:^|\n)(?:g|gc|h:\S*|hl:\S*|ha:\S*) /.test(text);
      const whole = ids.filter(
        (id) =>
          !text.includes(id) &&
          !(id.startsWith("child") && text.includes(`parent${number(id)}`)) &&
          !(id.startsWith("grouped") && shared),
      );
      const queue = backend.taskQueue();
      const until = performance.now() + 15_000;
      let left: readonly string[] = whole;
      while (left.length > 0) {
        assert.ok(performance.now() < until, `${left.join(", ")} are not done after:\n${text}`);
        const leases = await queue.reserve({ queues, limit: 50, leaseMs: 1_000, waitMs: 0, worker: "w" });
        await queue.settle(leases.map(ended));
        const outcomes = await queue.unrecorded(100);
        await queue.record(outcomes);
        await queue.sweep(1_000);
        const tasks = await queue.get(left);
        left = left.filter((_id, index) => tasks[index] !== undefined && tasks[index]?.state !== "failed");
      }
      await queue.list({}, { limit: 1_000 });
      await queue.counts();
      await backend.resultStorage().get(ids);
      await backend.resultStorage().list({}, { limit: 1_000 });
      await backend.resultStorage().sweep(100);
      await backend.eventStorage().query({}, { limit: 100 });
      await backend.eventStorage().query({ taskId: "t" }, { limit: 100 });
      await backend.eventStorage().sweep(100);
      await backend.scheduleStorage().list({ limit: 100 });
      await backend.scheduleStorage().due(100);
      await queue.remove(ids);
    } finally {
      await backend.close();
      await removeKeys(url, prefix);
    }
  });
}
