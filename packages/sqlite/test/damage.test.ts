// Damage from a seed, in every column of every table: nothing is thrown, nothing loops, and every task that was not damaged is done.
import { appendFileSync } from "node:fs";
import { mutateText, seededRandom } from "@omniq/conformance";
import type { Lease, Settlement, TaskQueue } from "@omniq/core";
import { sqlite, sqliteDriver, type SqliteBackend, type SqliteDriverDatabase } from "@omniq/sqlite";
import { expect, test } from "vitest";
import { complete, enqueue, loosen, reserve, task } from "./harness.ts";

const start = 1_000_000_000_000;
/** All of the 10,000 take a minute; this many are in each run of the tests. */
const mutations = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 200);
const perWorld = 4;

type Value = string | number | bigint | null | Buffer;

function reference({ taskId, queue, token, run, attempt }: Lease) {
  return { taskId, queue, token, run, attempt };
}

/** A store with something of everything, as bytes. */
async function template(): Promise<Buffer> {
  const database = new (sqliteDriver())(":memory:");
  const backend = sqlite({ database, now: () => start });
  const queue = backend.taskQueue();
  const group = (limit: number) => ({ key: `g${limit}`, limit });
  const after = (taskId: string) => [{ taskId, onFailure: "run" as const }];
  await enqueue(
    queue,
    task({ id: "done" }),
    task({ id: "dead" }),
    task({ id: "undecided", maxAttempts: 1 }),
    task({ id: "again" }),
    task({ id: "leased" }),
    task({ id: "one", group: group(1) }),
  );
  const leases = await reserve(queue, 6, { leaseMs: 30_000 });
  const event = {
    at: start,
    type: "completed" as const,
    taskId: "done",
    taskName: "n",
    queue: "q",
    run: 1,
    attempt: 1,
  };
  const settlements: Settlement[] = [
    { ...complete(leases[0]!), events: [1, 2, 3].map((n) => ({ ...event, id: `e${n}`, data: '{"a":1}' })) },
    { ...reference(leases[1]!), outcome: "failed", storeResult: true, error: '{"m":"x"}' },
    { ...reference(leases[2]!), outcome: "retry", delayMs: 0, error: '{"m":"x"}' },
    { ...reference(leases[3]!), outcome: "retry", delayMs: 50_000, error: '{"m":"x"}' },
  ];
  await queue.settle(settlements);
  await queue.cancel(["leased"]);
  await enqueue(
    queue,
    ...[1, 2, 3, 4, 5, 6].map((n) =>
      task({ id: `ready${n}`, payload: '{"n":1}', envelope: '{"v":1}', priority: n % 3 }),
    ),
    task({ id: "later", delayMs: 60_000 }),
    task({ id: "expiring", expiresInMs: 10_000_000 }),
    task({ id: "parent" }),
    task({ id: "child", dependencies: after("parent") }),
    task({ id: "grandchild", dependencies: after("child") }),
    task({ id: "two", group: group(1) }),
    task({ id: "three", group: group(2) }),
    task({ id: "four", group: group(2) }),
    task({ id: "five", group: group(2) }),
    task({ id: "keyed", deduplicate: { key: "k", mode: "keep" } }),
    task({ id: "windowed", deduplicate: { key: "w", mode: "keep", windowMs: 1_000 } }),
    task({ id: "limited", queue: "limited" }),
    task({ id: "limited2", queue: "limited" }),
  );
  await queue.configureQueue("limited", {
    maxActive: 1,
    rateLimit: { limit: 5, windowMs: 1_000 },
    deadLetterTtlMs: 1e12,
  });
  const schedules = backend.scheduleStorage();
  for (const id of ["s1", "s2", "s3"])
    await schedules.put({ id, rule: '{"r":1}', template: '{"t":1}', nextAt: start, runs: 1, paused: false }, null);
  await backend.close();
  loosen(database);
  const bytes = (database as unknown as { serialize(): Buffer }).serialize();
  database.close();
  return bytes;
}

const numbers: readonly Value[] = [
  ...[-1, 0, 1, 2, 99, 1.5, 1e300, -1e300, 2 ** 53, null, "", "text", "x".repeat(100_000), Buffer.from([0, 255])],
  ...[9_223_372_036_854_775_807n, -9_223_372_036_854_775_808n, 9_007_199_254_740_993n],
];

function mutate(value: Value, random: () => number): Value {
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  if (typeof value === "number" && random() < 0.3)
    return pick([value * 1e9, value * 1_000, -value, value + 1, value / 3]);
  if (typeof value !== "string" || random() < 0.3) return pick(numbers);
  return mutateText(value, random).value;
}

interface Damage {
  readonly text: string;
  /** Tasks that are damaged, or depend on what is. */
  readonly tasks: readonly string[];
}

const tables = [
  "tasks",
  "tasks",
  "queues",
  "groups",
  "deduplication",
  "dependencies",
  "settled",
  "past",
  "events",
  "schedules",
];

function spoil(database: SqliteDriverDatabase, random: () => number): Damage | undefined {
  const table = `omniq_${tables[Math.floor(random() * tables.length)]}`;
  const rows = database.prepare(`SELECT * FROM ${table}`).all() as Record<string, Value>[];
  const row = rows[Math.floor(random() * rows.length)];
  if (row === undefined) return undefined;
  const columns = Object.keys(row);
  const column = columns[Math.floor(random() * columns.length)] as string;
  const value = mutate(row[column] as Value, random);
  const keys = {
    queues: ["name"],
    groups: ["queue", "key"],
    deduplication: ["queue", "key"],
    dependencies: ["child", "position"],
  };
  const short = table.slice("omniq_".length);
  const key =
    (keys as Record<string, string[]>)[short] ??
    (short === "settled" ? ["token"] : short === "schedules" ? ["id"] : ["seq"]);
  const tasks: string[] = [];
  if (short === "tasks") tasks.push(String(row["id"]));
  if (short === "dependencies") tasks.push("child", "grandchild");
  // Who waits for a damaged task has to do with it, and a key that was changed is held by another.
  if (tasks.includes("parent")) tasks.push("child", "grandchild");
  if (tasks.includes("child")) tasks.push("grandchild");
  try {
    database
      .prepare(`UPDATE ${table} SET ${column} = ? WHERE ${key.map((name) => `${name} IS ?`).join(" AND ")}`)
      .run(value, ...key.map((name) => row[name]));
  } catch {
    return undefined; // A key that is there already, or must be a number.
  }
  const shown = typeof value === "string" ? JSON.stringify(value.slice(0, 30)) : String(value);
  return { text: `${table}.${column} of ${key.map((name) => String(row[name])).join()} = ${shown}`, tasks };
}

const live = [
  ...[
    "again",
    "one",
    "ready1",
    "ready2",
    "ready3",
    "ready4",
    "ready5",
    "ready6",
    "later",
    "expiring",
    "parent",
    "child",
    "grandchild",
  ],
  ...["two", "three", "four", "five", "keyed", "windowed", "limited", "limited2"],
];

/** Reads and changes everything in every way that there is. */
async function everything(backend: SqliteBackend, queue: TaskQueue, ids: readonly string[]): Promise<void> {
  await queue.get(ids);
  await queue.counts();
  await queue.unrecorded(3);
  for (let cursor: string | undefined, pages = 0; ;) {
    const page = await queue.list({}, { limit: 7, cursor });
    if ((cursor = page.next) === undefined) break;
    expect(++pages).toBeLessThan(20);
  }
  for (const states of [["ready"], ["failed", "active"], ["blocked", "scheduled"]] as const)
    await queue.list({ states }, {});
  const results = backend.resultStorage();
  await results.get(["done", "dead"]);
  await results.wait([{ taskId: "done", run: 1 }], 0);
  for (let cursor: string | undefined, pages = 0; ;) {
    const page = await results.list({}, { limit: 2, cursor });
    if ((cursor = page.next) === undefined) break;
    expect(++pages).toBeLessThan(40);
  }
  const events = backend.eventStorage();
  for (let cursor: string | undefined, pages = 0; ;) {
    const page = await events.query({}, { limit: 2, cursor });
    if ((cursor = page.next) === undefined) break;
    expect(++pages).toBeLessThan(20);
  }
  const told = {
    id: "new",
    at: start,
    type: "completed" as const,
    taskId: "done",
    taskName: "n",
    queue: "q",
    run: 1,
    attempt: 1,
  };
  await events.append([told]);
  const schedules = backend.scheduleStorage();
  await schedules.get(["s1", "s2", "s3"]);
  for (const { id } of (await schedules.due(10)).schedules) expect(await schedules.delete([id])).toEqual([true]);
  for (const { id } of (await schedules.list({})).items) expect(await schedules.delete([id])).toEqual([true]);
  expect((await schedules.list({})).items).toEqual([]);
  const keyed = (key: string, mode: "keep" | "replace" | "extend") =>
    task({ id: `${key}-${mode}`, deduplicate: { key, mode } });
  await enqueue(queue, keyed("k", "keep"), keyed("w", "replace"), keyed("k", "extend"), task({ id: "done" }));
}

test(`${mutations} seeded mutations of stored rows`, { timeout: 1_800_000 }, async () => {
  const bytes = await template();
  const random = seededRandom(Number(process.env["OMNIQ_TEST_SEED"] ?? 20_261_201));
  let done = 0;
  while (done < mutations) {
    const database = new (sqliteDriver() as new (source: Buffer) => SqliteDriverDatabase)(bytes);
    (database as { unsafeMode?: (on: boolean) => void }).unsafeMode?.(true);
    const damages: Damage[] = [];
    while (damages.length < perWorld) {
      const damage = spoil(database, random);
      if (damage !== undefined) damages.push(damage);
    }
    done += perWorld;
    const text = damages.map((damage) => damage.text).join("; ");
    if (process.env["OMNIQ_TEST_SHOW"] !== undefined) appendFileSync(process.env["OMNIQ_TEST_SHOW"], `${text}\n`);
    let now = start;
    const backend = sqlite({ database, now: () => now });
    const queue = backend.taskQueue();
    const bad = new Set(damages.flatMap((damage) => damage.tasks));
    const wanted = new Set(live.filter((id) => !bad.has(id)));
    const ran: string[] = [];
    try {
      // Settings that were changed to others that make sense are set right by whoever runs the queue.
      for (const name of ["q", "limited"]) {
        await queue.resume(name);
        await queue.configureQueue(name, { maxActive: null, rateLimit: null });
      }
      await everything(backend, queue, live);
      for (let round = 0; round < 60 && wanted.size > 0; round++) {
        await queue.sweep(100);
        await backend.resultStorage().sweep(100);
        await backend.eventStorage().sweep(100);
        const leases = await reserve(queue, 5, { queues: ["q", "limited"], leaseMs: 100, maxBytes: 1_000_000 });
        await queue.extend(leases, 100);
        const states = await queue.settle(leases.map((lease) => complete(lease)));
        expect(states).toHaveLength(leases.length);
        leases.forEach((lease, index) => states[index] === "settled" && ran.push(lease.taskId));
        for (const id of ran) wanted.delete(id);
        const over = await queue.unrecorded(100);
        await queue.record(over);
        now += 20_000;
      }
      expect([...wanted], text).toEqual([]);
      expect(new Set(ran).size, text).toBe(ran.length);
      // What is left is seen and removed.
      for (let round = 0; round < 3; round++) {
        now += 50_000;
        await queue.sweep(100);
        await queue.record(await queue.unrecorded(100));
      }
      const left = (await queue.list({}, { limit: 100 })).items;
      const removed = await queue.remove(left.map((item) => item.id));
      const stays = left.filter(
        (item, index) => removed[index] !== "removed" && !bad.has(item.id) && item.state !== "active",
      );
      expect(stays, text).toEqual([]);
    } catch (error) {
      throw new Error(`after ${text}`, { cause: error });
    } finally {
      await backend.close();
      database.close();
    }
  }
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});
