// Damage from a seed, in all kinds of records and in messages: no verb ends or hangs, and every undamaged task is done.
// OMNIQ_TEST_MUTATIONS says how much.
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { afterAll, test } from "vitest";
import { mutateText, seededRandom } from "@omniq/conformance";
import { isOmniQError, type Lease, type NewTask } from "@omniq/core";
import { redis, type RedisBackend } from "@omniq/redis";
import { startNode } from "./nodes.ts";
import { task } from "./tasks.ts";

const mutations = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 300);
const seed = Number(process.env["OMNIQ_TEST_SEED"] ?? 1_811);
const node = await startNode();
const server = new Redis(node.url, { protocol: 2 });
afterAll(async () => {
  server.disconnect();
  await node.remove();
});
/** A verb that takes longer hangs. */
const patienceMs = 20_000;

async function within<T>(what: string, call: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} hangs`)), patienceMs);
  });
  return Promise.race([call, late]).finally(() => clearTimeout(timer));
}
const request = { queues: ["q", "other"], limit: 50, leaseMs: 60_000, waitMs: 0, worker: "w" };
function reference({ taskId, queue, token, run, attempt }: Lease) {
  return { taskId, queue, token, run, attempt };
}
const event = (id: string, taskId: string) =>
  ({ id, at: Date.now(), type: "log", taskId, taskName: "n", queue: "q", run: 1, attempt: 1, data: "d" }) as const;

/** Tasks of all kinds whose ids begin with a name. */
function kinds(name: string): NewTask[] {
  return [
    task({ id: `${name}-plain`, payload: '{"a":[1,"x"]}', envelope: '{"v":1,"h":{}}' }),
    task({ id: `${name}-urgent`, priority: 7 }),
    task({ id: `${name}-due`, delayMs: 1 }),
    task({ id: `${name}-expires`, expiresInMs: 3_600_000 }),
    task({ id: `${name}-key`, deduplicate: { key: `${name}-k`, mode: "keep", windowMs: 60_000 } }),
    task({ id: `${name}-group`, group: { key: name, limit: 2 } }),
    task({ id: `${name}-parent`, dependencies: [{ taskId: `${name}-urgent`, onFailure: "run" }] }),
  ];
}

/** Where what is written of one task, result, event or schedule stands; each is read, damaged and written back. */
async function spoil(prefix: string, id: string, random: () => number): Promise<string> {
  const key = (name: string): string => `{${prefix}}:${name}`;
  const hashes = ["t", "l:q", "r", "sc", "et", "o", "rw"];
  const places: (() => Promise<string>)[] = [];
  for (const name of hashes) {
    const value = await server.hget(key(name), id);
    if (value === null) continue;
    places.push(async () => {
      const { does, value: bad } = mutateText(value, random);
      await server.hset(key(name), id, bad);
      return `${name} ${does}`;
    });
  }
  for (const name of [`o:${id}`]) {
    const members = await server.zrange(key(name), 0, 0);
    for (const member of members) {
      places.push(async () => {
        const { does, value } = mutateText(member, random);
        await server.zrem(key(name), member);
        await server.zadd(key(name), 0, value);
        return `o ${does}`;
      });
    }
  }
  const edges = `c:${(await server.hget(key("t"), id))?.slice(1, 13) ?? ""}`;
  for (const [field, value] of Object.entries(await server.hgetall(key(edges)))) {
    places.push(async () => {
      const { does, value: bad } = mutateText(value, random);
      await server.hset(key(edges), field, bad);
      return `c ${does}`;
    });
  }
  for (const name of ["dk", "g", "gc"]) {
    for (const [field, value] of Object.entries(await server.hgetall(key(name)))) {
      if (!field.includes(id.slice(0, 2))) continue;
      places.push(async () => {
        const { does, value: bad } = mutateText(value, random);
        await server.hset(key(name), field, bad);
        return `${name} ${does}`;
      });
    }
  }
  const place = places[Math.floor(random() * places.length)];
  return place === undefined ? "nothing" : place();
}

/** Each verb once or more, as workers, producers and people use them. */
async function useAll(backend: RedisBackend, ids: readonly string[], done: Set<string>): Promise<void> {
  const queue = backend.taskQueue();
  const results = backend.resultStorage();
  const schedules = backend.scheduleStorage();
  for (let empty = 0, rounds = 0; empty < 3; rounds++) {
    assert.ok(rounds < 200, "reserves give tasks for ever");
    const leases = await within("reserve", queue.reserve(request));
    empty = leases.length === 0 ? empty + 1 : 0;
    await within("extend", queue.extend(leases.map(reference), 60_000));
    const settlements = leases.map(
      (lease) => ({ ...reference(lease), outcome: "completed", storeResult: true, value: "v" }) as const,
    );
    const states = await within("settle", queue.settle(settlements));
    for (const [index, state] of states.entries()) if (state === "settled") done.add((leases[index] as Lease).taskId);
    const unrecorded = await within("unrecorded", queue.unrecorded(1_000));
    await within("record", queue.record(unrecorded.map(({ taskId, run }) => ({ taskId, run }))));
    await within("sweep", queue.sweep(1_000));
  }
  await within("get", queue.get(ids));
  await within("counts", queue.counts());
  for (let cursor: string | undefined, pages = 0; ; pages++) {
    assert.ok(pages < 100, "pages for ever");
    const page = await within("list", queue.list({}, { limit: 50, cursor }));
    cursor = page.next;
    if (cursor === undefined) break;
  }
  await within("results", results.get(ids));
  await within("results' list", results.list({}, { limit: 1_000 }));
  await within(
    "results' wait",
    results.wait(
      ids.map((taskId) => ({ taskId, run: 1 })),
      1,
    ),
  );
  await within("results' sweep", results.sweep(1_000));
  await within("events", backend.eventStorage().query({}, { limit: 1_000 }));
  for (const taskId of ids.slice(0, 5))
    await within("a task's events", backend.eventStorage().query({ taskId }, { limit: 10 }));
  const { schedules: due } = await within("due", schedules.due(100));
  for (const { id, revision } of due)
    await within("advance", schedules.advance(id, revision, { nextAt: null, runs: 1 }));
  await within("schedules' list", schedules.list({ limit: 1_000 }));
}

test(
  `${mutations} mutations of what is stored: every verb goes on, and every undamaged task is done`,
  { timeout: 60_000 + mutations * 60 },
  async () => {
    const random = seededRandom(seed);
    const touched = new Map<string, number>();
    let reports = 0;
    const perRound = 32;
    for (let round = 0; round * perRound < mutations; round++) {
      const prefix = `m${round}`;
      const backend = redis({ url: node.url, prefix });
      backend.onReport(() => (reports += 1));
      const queue = backend.taskQueue();
      const victims = ["v0", "v1", "v2"].flatMap(kinds);
      const sound = ["s0", "s1"].flatMap(kinds);
      await queue.enqueue([{ tasks: [...sound, ...victims] }]);
      // Some are active, some over, one is dead.
      const over = ["x0", "x1", "x2", "x3", "x4"].map((id) => task({ id, queue: "early" }));
      await queue.enqueue([{ tasks: over }]);
      const early = await queue.reserve({ ...request, queues: ["early"] });
      await queue.settle([
        { ...reference(early[0] as Lease), outcome: "completed", storeResult: true, value: "v" },
        { ...reference(early[1] as Lease), outcome: "failed", storeResult: true, error: '{"e":1}' },
        { ...reference(early[2] as Lease), outcome: "retry", delayMs: 5, error: '{"e":1}' },
      ]);
      await backend
        .resultStorage()
        .put([
          { taskId: "r0", run: 1, attempt: 1, name: "n", queue: "q", status: "completed", value: "v", ttlMs: null },
        ]);
      await backend.eventStorage().append([event("e0", "v0-plain"), event("e1", "s0-plain")]);
      for (const id of ["c0", "c1", "c2"])
        await backend
          .scheduleStorage()
          .put({ id, rule: '{"everyMs":1}', template: '{"v":1}', nextAt: 1, runs: 0, paused: false }, null);
      const told: string[] = [];
      const others = [...over.map(({ id }) => id), "r0", "c0", "c1", "v0-plain"];
      const marks = [...victims.map(({ id }) => id), ...others].slice(0, perRound);
      for (const id of marks) {
        const what = `${id}: ${await spoil(prefix, id, random)}`;
        told.push(what);
        const name = what.slice(id.length + 2).split(" ", 1)[0] as string;
        touched.set(name, (touched.get(name) ?? 0) + 1);
      }
      const done = new Set<string>();
      try {
        await useAll(
          backend,
          [...sound, ...victims, ...over].map(({ id }) => id),
          done,
        );
        const missing = sound.filter(({ id }) => !done.has(id)).map(({ id }) => id);
        assert.deepEqual(missing, [], "undamaged tasks are not done");
        assert.equal((await backend.scheduleStorage().get(["c2"]))[0]?.runs, 1);
        assert.equal(
          (await backend.eventStorage().query({ taskId: "s0-plain" }, { limit: 10 })).items.length >= 1,
          true,
        );
        const ids = victims.map(({ id }) => id);
        await within("cancel", queue.cancel(ids));
        await within("retry", queue.retry(ids));
        await within("remove", queue.remove([...ids, ...over.map(({ id }) => id)]));
        await within("purge", queue.purge("q", ["ready", "failed", "scheduled", "blocked"]));
        await within("delete", backend.scheduleStorage().delete(["c0", "c1", "c2"]));
        await within("delete", backend.resultStorage().delete(ids));
      } catch (error) {
        throw new Error(`round ${round} of seed ${seed}: ${String(error)}\n${told.join("\n").slice(0, 6_000)}`, {
          cause: error,
        });
      } finally {
        await backend.close();
      }
    }
    assert.ok(reports > 0);
    if (mutations >= 5_000) console.log(`${mutations} mutations of`, Object.fromEntries(touched), `${reports} reports`);
  },
);

test(
  `${mutations} mutations of messages: who waits goes on, and believes none of them`,
  { timeout: 60_000 + mutations * 20 },
  async () => {
    const random = seededRandom(seed + 1);
    const backend = redis({ url: node.url, prefix: "heard" });
    const queue = backend.taskQueue();
    const results = backend.resultStorage();
    const cancels: (readonly string[])[] = [];
    const stop = queue.onCancel((ids) => void cancels.push(ids));
    try {
      await backend.check();
      const known = { taskId: "waited", run: 1 };
      const waiting = results.wait([known], 120_000);
      // Until word was left.
      while ((await server.hget("{heard}:rw", "waited")) === null) await new Promise((done) => setTimeout(done, 5));
      const [channel = ""] = (await server.hget("{heard}:rw", "waited"))?.split(":") ?? [];
      const channels = (await server.call("PUBSUB", "CHANNELS", "{heard}:*")) as string[];
      assert.ok(channels.length >= 2, `${channel}: ${channels.join(" ")}`);
      const record = ["R0000000000011", "1", "n", "q", "c", "1700000000000", "-", "", "vforged"].join("\0");
      const message = ["waited", "AAAAAAAA", String(record.length), "", record].join("\0");
      const pipeline = server.pipeline();
      for (let number = 0; number < mutations; number++) {
        const text = number % 3 === 0 ? mutateText("waited\0other", random).value : mutateText(message, random).value;
        for (const one of channels) pipeline.publish(one, text);
      }
      for (const one of channels) pipeline.publish(one, message);
      await pipeline.exec();
      await server.publish(`{heard}:cancel`, "last");
      while (!cancels.some((ids) => ids.includes("last"))) await new Promise((done) => setTimeout(done, 10));
      assert.ok(cancels.every((ids) => ids.length <= 1_000 && ids.every((id) => typeof id === "string")));
      await results.put([
        { ...known, attempt: 1, name: "n", queue: "q", status: "completed", value: "true", ttlMs: null },
      ]);
      assert.equal((await within("wait", waiting))[0]?.value, "true");
      await within("enqueue", queue.enqueue([{ tasks: [task()] }]));
      assert.equal((await within("reserve", queue.reserve({ ...request, waitMs: 1_000 }))).length, 1);
    } finally {
      stop();
      await backend.close();
    }
  },
);

test("a verb that meets keys of another type fails with an error of OmniQ, and harms no other namespace", async () => {
  for (const name of ["t", "q", "m", "r:q", "k:q", "l:q", "v", "u", "ev"]) {
    const prefix = `type-${name}`;
    await server.set(`{${prefix}}:${name}`, "text");
    const backend = redis({ url: node.url, prefix });
    const calls = [
      () => backend.taskQueue().enqueue([{ tasks: [task(), task({ priority: 1 })] }]),
      () => backend.taskQueue().reserve(request),
      () => backend.taskQueue().list({}, { limit: 1 }),
      () => backend.taskQueue().sweep(1),
    ];
    for (const call of calls)
      await within(name, call()).catch((error: unknown) => assert.ok(isOmniQError(error), `${name}: ${String(error)}`));
    await backend.close();
  }
});
