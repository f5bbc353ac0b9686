// What others with an account on the server can do: names in their own schemas, messages on any channel, values of their own tasks.
import { inspect } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, type NewTask } from "@omniq/core";
import { migrate, postgres } from "@omniq/postgres";
import pg from "pg";
import { expect, test } from "vitest";
import { Connection } from "../src/connection.ts";
import { checkOptions } from "../src/options.ts";
import { completed, dropLater, newSchema, open, task, useAll } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const request = { queues: ["q"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "w" };
const code = (wanted: string): unknown => expect.objectContaining({ code: wanted });

test("a function that somebody has put into a schema of the search path is never run, in whatever verb, nor by migrate()", async () => {
  const schema = newSchema();
  const planted = dropLater(`${schema}_planted`);
  const url = new URL(dsn);
  url.searchParams.set("options", `-c search_path=${planted},pg_catalog`);
  await connected(async (client) => {
    await client.query(`CREATE SCHEMA ${planted}; CREATE TABLE ${planted}.ran (name text)`);
    // Names of all functions that a text of ours may call, with the arguments that fit better than those of PostgreSQL's own.
    const types = [
      "text[]",
      "bigint[]",
      "text",
      "bigint",
      "bigint, integer",
      "text, text",
      "text, text, text",
      "text, bigint",
      "text, numeric",
      "",
    ];
    const names = [
      "unnest",
      "string_to_array",
      "to_json",
      "json_agg",
      "pg_notify",
      "now_ms",
      "floor",
      "clock_timestamp",
      "hashtextextended",
    ];
    names.push(
      "pg_advisory_xact_lock",
      "pg_advisory_xact_lock_shared",
      "nextval",
      "array_agg",
      "count",
      "max",
      "min",
      "sum",
      "greatest",
    );
    names.push(
      "current_setting",
      "pg_current_xact_id",
      "pg_current_snapshot",
      "octet_length",
      "cardinality",
      "concat_ws",
      "array_position",
    );
    for (const name of names) {
      for (const list of types) {
        await client.query(
          `CREATE FUNCTION ${planted}."${name}"(${list}) RETURNS text LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO ${planted}.ran VALUES ('${name}'); RETURN NULL; END $$`,
        );
      }
    }
    await client.query(`CREATE FUNCTION ${planted}.times(numeric, integer) RETURNS numeric LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO ${planted}.ran VALUES ('*'); RETURN 0; END $$;
      CREATE OPERATOR ${planted}.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = ${planted}.times)`);
  });
  await migrate({ dsn: url.href, schema });
  await useAll(open({ dsn: url.href, schema }));
  const { rows } = await connected((client) => client.query(`SELECT DISTINCT name FROM ${planted}.ran`));
  expect(rows).toEqual([]);
});

test("each statement that is sent names the schema of what it calls", async () => {
  const schema = newSchema();
  const texts = new Set<string>();
  const pool = new pg.Pool({ connectionString: dsn, max: 3 });
  const spied = {
    options: { connectionString: dsn },
    connect: async () => {
      const client = await pool.connect();
      return {
        query: (config: { text: string }) => {
          texts.add(config.text);
          return client.query(config as never);
        },
        release: (error?: boolean) => client.release(error),
      };
    },
  };
  await migrate({ dsn, schema });
  await useAll(open({ pool: spied, schema }));
  await pool.end();
  const words =
    /^(all|and|any|array|as|by|case|coalesce|conflict|exists|extract|filter|from|in|into|join|lateral|then|materialized|not|n|or|over|row|select|values|when|where|with|using|greatest|least|gone|l)$/i;
  const called = [...texts].flatMap((text) =>
    [...text.matchAll(/(?<![.\w"])([a-z_]+)\s*\(/gi)].map(([, name]) => name as string),
  );
  expect(texts.size).toBeGreaterThan(25);
  expect(called.filter((name) => !words.test(name))).toEqual([]);
});

test("whatever is sent on the channel, listeners go on, and nothing is believed of it", async () => {
  const schema = newSchema();
  const [here, there] = [open({ dsn, schema }), open({ dsn, schema })];
  await here.check();
  const heard: string[] = [];
  const stop = there.taskQueue().onCancel((ids) => heard.push(...ids));
  const result = there.resultStorage().wait([{ taskId: "forged", run: 1 }], 3_000);
  const waiting = there.taskQueue().reserve({ ...request, waitMs: 30_000 });
  await sleep(300);
  const channel = new Connection(checkOptions({ dsn, schema })).channel;
  const payloads = [
    "null",
    "true",
    "0",
    "[]",
    '"x"',
    "{",
    "",
    "[[[[",
    '{"f":null}',
    '{"f":"x","t":{"length":-1}}',
    '{"f":"x","t":[null,{}],"r":[1]}',
  ];
  payloads.push(
    '{"f":"x","c":[null,{"then":1},"someone"]}',
    '{"__proto__":{"f":"x"}}',
    '{"f":"x","r":["forged"],"value":"forged"}',
    `{"f":"${"x".repeat(7_000)}"}`,
  );
  await connected(async (client) => {
    for (const payload of payloads) await client.query("SELECT pg_notify($1, $2)", [channel, payload]);
  });
  await sleep(200);
  await here.taskQueue().enqueue([{ tasks: [task("a")] }]);
  expect((await waiting).map((lease) => lease.taskId)).toEqual(["a"]);
  expect(await result).toEqual([]);
  // Only a hint, which whoever hears it asks about.
  expect(heard).toEqual(["someone"]);
  stop();
});

test("numbers and texts that cannot be stored are refused by the call, of which nothing is stored; those beside it are not touched", async () => {
  const queue = open({ dsn, schema: newSchema() }).taskQueue();
  const numbers: Partial<NewTask>[] = [
    { delayMs: Number.NaN },
    { delayMs: Infinity },
    { runAt: Number.NaN },
    { expiresInMs: -Infinity },
  ];
  numbers.push({ resultTtlMs: Number.NaN }, { rememberMs: Infinity }, { maxAttempts: 1.5 }, { priority: Number.NaN });
  for (const [index, given] of numbers.entries())
    for (const more of [[], [task(`beside${index}`)]])
      await expect(queue.enqueue([{ tasks: [task("bad", given), ...more] }])).rejects.toEqual(
        code("OMNIQ_INVALID_OPTION"),
      );
  for (const text of ["\0", "a\0b", "\ud800", "x\udc00"])
    for (const given of [
      { payload: text },
      { envelope: text },
      { payload: text, deduplicate: { key: "k", mode: "keep" as const } },
    ])
      await expect(queue.enqueue([{ tasks: [task("bad", given)] }])).rejects.toEqual(
        code("OMNIQ_SERIALIZATION_FAILED"),
      );
  expect((await queue.list({}, {})).items).toEqual([]);
  // A delay that is larger than any time ends at a time.
  await queue.enqueue([{ tasks: [task("late", { delayMs: 1e300 }), task("a"), task("b"), task("c")] }]);
  expect((await queue.get(["late"]))[0]?.state).toBe("scheduled");
  const leases = await queue.reserve(request);
  const [a, b, c] = leases.map((lease) => completed(lease));
  if (a === undefined || b === undefined || c === undefined) throw new Error("too few");
  for (const delayMs of [Number.NaN, Infinity])
    for (const outcome of ["retry", "release"] as const)
      await expect(queue.settle([b, { ...a, outcome, delayMs, error: "e" } as never])).rejects.toEqual(
        code("OMNIQ_INVALID_OPTION"),
      );
  for (const text of ["\0", "\ud800"])
    await expect(queue.settle([b, { ...a, value: text } as never])).rejects.toEqual(code("OMNIQ_SERIALIZATION_FAILED"));
  // None of them kept the others, or itself, from an end.
  expect(await queue.settle([b, { ...c, outcome: "retry", delayMs: 1e300, error: "e" } as never])).toEqual([
    "settled",
    "settled",
  ]);
  expect(await queue.settle([a])).toEqual(["settled"]);
  await queue.sweep(10);
  expect(await queue.counts(["q"])).toMatchObject({ q: { active: 0, ready: 0, scheduled: 2 } });
});

test("passwords show in nothing that is printed: backend, components, errors and their causes", async () => {
  const url = new URL(dsn);
  url.password = "geheim";
  const shown = (value: unknown): string =>
    [
      ...[false, true].map((getters) => inspect(value, { showHidden: true, depth: Infinity, getters })),
      inspect(value, { depth: Infinity }),
      String(value),
      JSON.stringify(value) ?? "",
    ].join("\n");
  for (const options of [
    { dsn: url.href },
    { host: "127.0.0.1", port: 1, username: "u", password: "geheim" },
    { dsn: "postgresql://u:geheim@127.0.0.1:1,127.0.0.1:2/d" },
    { dsn: url.href.replace(/\/[^/]*$/, "/omniq_no_such_database") },
  ]) {
    const backend = postgres({ ...options, schema: "omniq_never_made", migrate: false });
    expect(backend.remote?.options).toBeDefined();
    const components = [
      backend.taskQueue(),
      backend.resultStorage(),
      backend.eventStorage(),
      backend.scheduleStorage(),
    ];
    const errors = await Promise.all([
      backend.check().catch((error: unknown) => error),
      backend
        .taskQueue()
        .counts()
        .catch((error: unknown) => error),
      backend
        .taskQueue()
        .enqueue([{ tasks: [task("a")] }])
        .catch((error: unknown) => error),
    ]);
    expect(errors.every((error) => isOmniQError(error))).toBe(true);
    for (const one of [backend, ...components, ...errors]) expect(shown(one)).not.toContain("geheim");
    await backend.close();
    for (const one of [backend, ...components]) expect(shown(one)).not.toContain("geheim");
  }
});

test("a pool, and a client outside a transaction, are refused as transaction, and store nothing", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema }).taskQueue();
  const pool = new pg.Pool({ connectionString: dsn, max: 1 });
  const outside = await pool.connect();
  const wrapped = { query: (text: string, values: unknown[]) => outside.query(text, values) };
  const lone = new pg.Client({ connectionString: dsn });
  await lone.connect();
  for (const transaction of [pool, outside, wrapped, lone])
    await expect(queue.enqueue([{ tasks: [task("a")] }], { transaction })).rejects.toEqual(
      code("OMNIQ_INVALID_OPTION"),
    );
  expect(await queue.get(["a"])).toEqual([undefined]);
  for (const transaction of [outside, wrapped]) {
    await outside.query("BEGIN");
    await queue.enqueue([{ tasks: [task(transaction === outside ? "a" : "b")] }], { transaction });
    await outside.query("COMMIT");
  }
  expect((await queue.get(["a", "b"])).map((one) => one?.id)).toEqual(["a", "b"]);
  outside.release();
  await Promise.all([pool.end(), lone.end()]);
});
