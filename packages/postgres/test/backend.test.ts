// What is PostgreSQL's own: options, migrations, the user's pool, polling without LISTEN, cursors of events, faults.
import { setTimeout as sleep } from "node:timers/promises";
import type { NewEvent, StoredEvent } from "@omniq/core";
import { adapter, migrate, postgres, type PostgresOptions } from "@omniq/postgres";
import pg from "pg";
import { expect, test } from "vitest";
import { Proxy } from "./proxy.ts";
import { Connection } from "../src/connection.ts";
import { checkOptions } from "../src/options.ts";
import { dropLater, newSchema, open, task } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const request = { queues: ["q"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "w" };
const event = (id: string): NewEvent => ({
  id,
  at: Date.now(),
  type: "log",
  taskId: "t",
  taskName: "n",
  queue: "q",
  run: 1,
  attempt: 1,
});

test("options that can't be used are refused, and passwords stand in no message", () => {
  const wrong: [unknown, RegExp][] = [
    [null, /object/],
    [{ dsn: "mysql://x" }, /dsn/],
    [{ dsn, host: "x" }, /host/],
    [{ pool: {} }, /pool/],
    [{ pool: { connect: () => {} }, dsn }, /exclude/],
    [{ port: 0 }, /port/],
    [{ schema: "x".repeat(64) }, /schema/],
    [{ schema: "pg_x" }, /schema/],
    [{ schema: "a$b" }, /schema/],
    [{ maxConnections: 0 }, /maxConnections/],
    [{ eventTtlMs: 0.5 }, /eventTtlMs/],
    [{ listen: "no" }, /listen/],
    [{ migrate: 1 }, /migrate/],
    [{ tls: "yes" }, /tls/],
    [{ username: 1, password: "geheim" }, /username/],
  ];
  for (const [options, message] of wrong) {
    const make = (): unknown => postgres(options as PostgresOptions);
    expect(make).toThrow(message);
    expect(make).toThrow(expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID" }));
    expect(make).not.toThrow(/geheim/);
  }
});

test("a URL gives the options; what is pg's own stays in the dsn", () => {
  expect(adapter.aliases).toContain("postgresql");
  expect(
    adapter.fromUrl?.(
      "postgres://u:p@h:1/d?schema=s&max_connections=3&listen=false&migrate=0&eventTtlMs=5&sslmode=require",
    ),
  ).toEqual({
    dsn: "postgres://u:p@h:1/d?sslmode=require",
    schema: "s",
    maxConnections: 3,
    listen: false,
    migrate: false,
    eventTtlMs: 5,
  });
  expect(() => adapter.fromUrl?.("postgres://h/d?listen=perhaps")).toThrow(/listen/);
});

test("many backends that start at once make the tables once; any name of a schema will do", async () => {
  const schema = `${newSchema()} "Q" {s}{n} 'x' \\ é`;
  dropLater(schema.replaceAll('"', '""'));
  const all = Array.from({ length: 6 }, () => open({ dsn, schema, maxConnections: 2 }));
  await Promise.all(all.map((backend) => backend.check()));
  await all[0]?.taskQueue().enqueue([{ tasks: [task("a"), task("b", { deduplicate: { key: "k", mode: "keep" } })] }]);
  expect(await all[1]?.taskQueue().reserve(request)).toHaveLength(2);
});

test("without the right to migrate at run time, migrate() makes the tables", async () => {
  const schema = newSchema();
  const backend = open({ dsn, schema, migrate: false });
  await expect(backend.check()).rejects.toMatchObject({ code: "OMNIQ_BACKEND_FAILED", message: /migrate\(\)/ });
  await Promise.all([migrate({ dsn, schema }), migrate({ dsn, schema })]);
  await backend.check();
});

test("a schema that a newer version wrote is refused", async () => {
  const schema = newSchema();
  await migrate({ dsn, schema });
  await connected((client) => client.query(`UPDATE ${schema}.meta SET value = '99' WHERE key = 'version'`));
  await expect(open({ dsn, schema }).check()).rejects.toMatchObject({
    code: "OMNIQ_ADAPTER_INCOMPATIBLE",
    message: /99/,
  });
  await expect(migrate({ dsn, schema })).rejects.toMatchObject({ code: "OMNIQ_ADAPTER_INCOMPATIBLE" });
});

test("a pool of the user's, even of one connection and with parsers of its own, is used and never closed", async () => {
  const types = { getTypeParser: () => (text: string) => `<${text}>` };
  const pool = new pg.Pool({ connectionString: dsn, max: 1, types } as never);
  const schema = newSchema();
  const backend = open({ pool, schema });
  expect(backend.remote).toBeUndefined();
  expect(backend.taskQueue().capabilities.remoteHeartbeats).toBe(false);
  const waiting = backend.taskQueue().reserve({ ...request, waitMs: 10_000 });
  await sleep(200);
  await backend.taskQueue().enqueue([{ tasks: [task("a")] }]);
  expect((await waiting).map((lease) => [lease.taskId, lease.attempt])).toEqual([["a", 1]]);
  await backend.close();
  expect((await pool.query("SELECT 'x' AS x")).rows[0]).toEqual({ x: "<x>" });
  await pool.end();
});

test("without LISTEN what waits is woken by polling, in another backend too", async () => {
  const schema = newSchema();
  const [one, other] = [open({ dsn, schema, listen: false }), open({ dsn, schema, listen: false })];
  expect(one.taskQueue().capabilities.push).toBe(false);
  await one.check();
  const waiting = one.taskQueue().reserve({ ...request, waitMs: 20_000 });
  const result = one.resultStorage().wait([{ taskId: "a", run: 1 }], 20_000);
  await other.taskQueue().enqueue([{ tasks: [task("a")] }]);
  const [lease] = await waiting;
  if (lease === undefined) throw new Error("nothing came");
  await other.taskQueue().settle([{ ...lease, outcome: "completed", storeResult: true, value: "v" }]);
  expect(await result).toMatchObject([{ taskId: "a", value: "v" }]);
  // No connection listens, and no statement is prepared.
  const { rows } = await connected((client) =>
    client.query(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE 'LISTEN %' AND application_name = $1",
      [schema],
    ),
  );
  expect(rows[0]).toEqual({ n: 0 });
});

test("whoever listens hears of an enqueue of any kind without asking, once it is committed", async () => {
  const schema = newSchema();
  const [producer, consumer] = [open({ dsn, schema }), open({ dsn, schema })];
  await migrate({ dsn, schema });
  const [tasks, other] = [producer.taskQueue(), consumer.taskQueue()];
  const heard = new pg.Client({ connectionString: dsn });
  await heard.connect();
  try {
    await heard.query(`LISTEN ${new Connection(checkOptions({ dsn, schema })).channel}`);
    let seen = 0;
    for (const given of [{}, { deduplicate: { key: "k", mode: "keep" as const } }]) {
      const notice = new Promise<string | undefined>((resolve) =>
        heard.once("notification", ({ payload }) => resolve(payload)),
      );
      await sleep(20); // Else it would go with a later one.
      await tasks.enqueue([{ tasks: [task(`t${seen}`, given)] }]);
      expect(JSON.parse((await notice) ?? "")).toMatchObject({ t: ["q"] });
      expect((await other.list({}, {})).items).toHaveLength(++seen);
    }
  } finally {
    await heard.end();
  }
});

test("a tail and its cursors miss nothing of transactions that commit out of order, and wait for none", async () => {
  const schema = newSchema();
  const storage = open({ dsn, schema }).eventStorage();
  await storage.append([event("first")]);
  const seen: StoredEvent[] = [];
  const stop = new AbortController();
  const tailing = (async () => {
    for await (const one of storage.tail({}, "start", { signal: stop.signal })) seen.push(one);
  })();
  const until = async (n: number): Promise<void> => {
    for (let tries = 0; seen.length < n && tries < 500; tries++) await sleep(20);
  };
  await connected(async (late) => {
    await late.query("BEGIN");
    const columns = "(id, at, type, task_id, task_name, queue, run, attempt)";
    await late.query(
      `INSERT INTO ${schema}.events ${columns} VALUES ('late', ${Date.now()}, 'log', 't', 'n', 'q', 1, 1)`,
    );
    await storage.append([event("second")]);
    await storage.append([event("third")]);
    await until(3);
    expect(seen.map(({ id }) => id)).toEqual(["first", "second", "third"]);
    await late.query("COMMIT");
    await storage.append([event("fourth")]);
    await until(5);
  });
  expect(seen.map(({ id }) => id).toSorted()).toEqual(["first", "fourth", "late", "second", "third"]);
  stop.abort();
  await tailing;
  // From each event's cursor on, exactly what came after it comes.
  for (const [index, { cursor }] of seen.entries()) {
    const rest: string[] = [];
    const end = new AbortController();
    const expected = seen.slice(index + 1).map(({ id }) => id);
    if (expected.length === 0) continue;
    for await (const one of storage.tail({}, cursor, { signal: end.signal })) {
      rest.push(one.id);
      if (rest.length === expected.length) break;
    }
    expect(rest.toSorted()).toEqual(expected.toSorted());
  }
});

test("transaction ids of different lengths are in the order of numbers for queries and for tails", async () => {
  const schema = newSchema();
  const events = open({ dsn, schema }).eventStorage();
  const ids = Array.from({ length: 1_200 }, (_, i) => `e${i}`);
  await events.append(ids.map(event));
  // As on a server of which the hundredth transaction comes between.
  await connected((client) =>
    client.query(
      `UPDATE "${schema}".events SET txid = CASE WHEN seq <= (SELECT min(seq) + 599 FROM "${schema}".events) THEN '99' ELSE '100' END::xid8`,
    ),
  );
  const queried: string[] = [];
  let cursor: string | undefined;
  do {
    const page = await events.query({ queue: "q" }, { limit: 100, ...(cursor === undefined ? {} : { cursor }) });
    queried.push(...page.items.map(({ id }) => id));
    cursor = page.next;
  } while (cursor !== undefined);
  expect(queried).toEqual(ids);
  const followed: string[] = [];
  for await (const { id } of events.tail({}, "start")) if (followed.push(id) === ids.length) break;
  expect(followed).toEqual(ids);
});

test("a server that is away is OMNIQ_BACKEND_UNAVAILABLE; when it is back, the connection that listens is too", async () => {
  const schema = newSchema();
  await migrate({ dsn, schema });
  const proxy = new Proxy(dsn);
  await proxy.start();
  const queue = open({ dsn: proxy.through(dsn), schema }).taskQueue();
  const direct = open({ dsn, schema }).taskQueue();
  const waiting = queue.reserve({ ...request, waitMs: 1_000 });
  expect(await waiting).toEqual([]);
  await proxy.stop();
  await expect(queue.counts()).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE", retryable: true });
  await proxy.start();
  const again = queue.reserve({ ...request, waitMs: 20_000 });
  await sleep(1_000);
  await direct.enqueue([{ tasks: [task("a")] }]);
  expect(await again).toHaveLength(1);
  await queue.close();
  await proxy.stop();
});

test("errors of the server name it and never the password", async () => {
  const url = new URL(dsn);
  url.password = "geheim";
  url.pathname = "/omniq_no_such_database";
  const error: unknown = await open({ dsn: url.href, schema: "omniq_x" })
    .check()
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "OMNIQ_BACKEND_FAILED", message: expect.stringMatching(/3D000/) });
  expect(String(error)).not.toMatch(/geheim/);
  const away = open({ host: "127.0.0.1", port: 1, username: "u", password: "geheim" });
  await expect(away.check()).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE" });
});

test("claims follow what was given back and what is more urgent, though they remember where they were", async () => {
  const queue = open({ dsn, schema: newSchema() }).taskQueue();
  await queue.enqueue([{ tasks: Array.from({ length: 8 }, (_value, index) => task(`t${index}`)) }]);
  const [first, second] = await queue.reserve({ ...request, limit: 2 });
  if (first === undefined || second === undefined) throw new Error("too few");
  await queue.settle([{ ...first, outcome: "release" }]);
  await queue.enqueue([{ tasks: [task("urgent", { priority: 1 }), task("idle", { priority: -1 })] }]);
  const leases = await queue.reserve({ ...request, limit: 20 });
  expect(leases.map((lease) => lease.taskId)).toEqual(["urgent", "t0", "t2", "t3", "t4", "t5", "t6", "t7", "idle"]);
});

test("what is committed late is found though there is more further on, in each queue of a process and beside another", async () => {
  const schema = newSchema();
  const [queue, other] = [open({ dsn, schema }).taskQueue(), open({ dsn, schema }).taskQueue()];
  const take = async (from: typeof queue, name: string): Promise<string | undefined> =>
    (await from.reserve({ ...request, queues: [name], limit: 1 }))[0]?.taskId;
  const many = (name: string) => Array.from({ length: 60 }, (_, i) => task(`${name}${i}`, { queue: name }));
  await migrate({ dsn, schema });
  await connected(async (client) => {
    await client.query("BEGIN");
    await queue.enqueue([{ tasks: [task("late", { queue: "b" })] }], { transaction: client });
    await queue.enqueue([{ tasks: [...many("a"), ...many("b")] }]);
    for (const name of ["a", "b"]) for (const from of [queue, other]) await take(from, name);
    await client.query("COMMIT");
  });
  const taken: (string | undefined)[] = [];
  while (taken.length < 40 && !taken.includes("late")) {
    await sleep(300);
    await take(queue, "a");
    taken.push(await take(queue, "b"));
  }
  expect(taken).toContain("late");
  expect(taken).not.toContain(undefined);
});
