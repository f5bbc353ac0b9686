// Layers, forms, types of values and settings of a configuration, with adapters made for the test.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure, load, memory } from "./configuration-fakes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "omniq-configuration-"));
});
afterAll(() => rm(folder, { recursive: true }));
async function write(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}
const examples = fileURLToPath(new URL("config-examples/", import.meta.url));

describe("config-examples", () => {
  const cases: readonly [string, string, string, object][] = [
    ["redis", "taskQueue", "redis", { host: "localhost", port: 6379, db: 0 }],
    ["sqlite", "resultStorage", "sqlite", { databasePath: join(examples, "data/results.db") }],
    ["postgres", "eventStorage", "postgres", { dsn: "postgresql://user:password@host:port/database_name" }],
    ["file", "taskQueue", "file", { baseDir: join(examples, "data/tasks") }],
    ["nats", "taskQueue", "nats", { servers: ["nats://localhost:4222", "nats://nats.example.com:4222"] }],
    ["memory", "resultStorage", "memory", {}],
  ];
  test.each(cases)("%s.yaml alone", async (name, component, type, options) => {
    const loaded = await load({ file: join(examples, `${name}.yaml`) });
    expect(loaded[component]).toMatchObject({ type });
    expect((loaded[component] as { options: object }).options).toEqual(options);
    // The only backend that is described keeps the tasks, too.
    expect(loaded.taskQueue).toBe(loaded[component]);
  });
  test.each(cases)("%s.yaml beside a queue from code", async (name, component, type) => {
    const loaded = await load({
      file: join(examples, `${name}.yaml`),
      ...(component !== "taskQueue" && { config: { taskQueueType: "nats" } }),
    });
    expect(loaded[component]).toMatchObject({ type });
    expect(loaded.taskQueue.type).toBe(component === "taskQueue" ? type : "nats");
  });
  test("the ancestor's code form, in both cases", async () => {
    const snake = await load({
      config: {
        task_queue_type: "redis",
        result_storage_type: "sqlite",
        event_storage_type: "postgresql",
        redis_host: "localhost",
        redis_port: 6379,
        sqlite_database_path: "omniq_results.db",
        postgresql_dsn: "postgresql://user:password@localhost:5432/omniq_events",
      },
    });
    const camel = await load({
      config: {
        taskQueueType: "redis",
        resultStorageType: "sqlite",
        eventStorageType: "postgresql",
        redisHost: "localhost",
        redisPort: 6379,
        sqliteDatabasePath: "omniq_results.db",
        postgresqlDsn: "postgresql://user:password@localhost:5432/omniq_events",
      },
    });
    for (const loaded of [snake, camel]) {
      expect(loaded.taskQueue).toMatchObject({ type: "redis", options: { host: "localhost", port: 6379 } });
      expect(loaded.resultStorage).toMatchObject({
        type: "sqlite",
        options: { databasePath: resolve("omniq_results.db") },
      });
      expect(loaded.eventStorage).toMatchObject({
        type: "postgres",
        options: { dsn: "postgresql://user:password@localhost:5432/omniq_events" },
      });
      expect(loaded.scheduleStorage).toBeUndefined();
    }
  });
});

describe("layers", () => {
  test("defaults < file < environment < code, field by field", async () => {
    const path = await write(
      "layers.json",
      JSON.stringify({
        taskQueue: { type: "redis", host: "file", port: 1000, db: 1, prefix: "file" },
        logLevel: "info",
      }),
    );
    const loaded = await load({
      file: path,
      environment: {
        OMNIQ_TASK_QUEUE_PORT: "2000",
        OMNIQ_REDIS_DB: "2",
        OMNIQ_LOG_LEVEL: "warn",
        OMNIQ_DEFAULT_WORKER: "thread",
        OTHER: "x",
        OMNIQ_TEST_X: "y",
      },
      config: { taskQueue: { db: 3 } },
    });
    expect(loaded.taskQueue.options).toEqual({ host: "file", port: 2000, db: 3, prefix: "file" });
    expect(loaded["logLevel"]).toBe("warn");
    expect(loaded["defaultWorkerKind"]).toBe("thread");
  });
  test("a layer that changes the type drops the options below it, of that component only", async () => {
    const path = await write(
      "type.yaml",
      "task_queue: {type: redis, host: a, db: 4}\nevent_storage: {type: redis, host: a, db: 5}\nsqlite_database_path: flat.db\n",
    );
    const loaded = await load({ file: path, environment: { OMNIQ_TASK_QUEUE_TYPE: "sqlite" } });
    expect(loaded.taskQueue).toMatchObject({ type: "sqlite", options: { databasePath: join(folder, "flat.db") } });
    expect(loaded.eventStorage).toMatchObject({ options: { host: "a", db: 5 } });
    const back = await load({
      file: path,
      environment: { OMNIQ_TASK_QUEUE_TYPE: "sqlite" },
      config: { taskQueueType: "redis", redisHost: "c" },
    });
    expect(back.taskQueue.options).toEqual({ host: "c" });
    expect((back.eventStorage as { options: object }).options).toEqual({ host: "c", db: 5 });
  });
  test("an alias or the same type again drops nothing", async () => {
    const path = await write("alias.yaml", "event_storage: {type: postgresql, max_connections: 3}\n");
    const loaded = await load({ file: path, config: { eventStorage: { type: "postgres", dsn: "x" } } });
    expect(loaded.taskQueue.options).toEqual({ maxConnections: 3, dsn: "x" });
  });
  test("a component's own option is stronger than the flat one beside it, a higher layer's flat one stronger than both", async () => {
    const config = { taskQueue: { type: "redis", host: "own" }, redisHost: "flat" };
    expect((await load({ config })).taskQueue.options).toEqual({ host: "own" });
    const path = await write("own.json", JSON.stringify(config));
    expect((await load({ file: path, environment: { OMNIQ_REDIS_HOST: "env" } })).taskQueue.options).toEqual({
      host: "env",
    });
  });
  test("a URL describes the whole connection: no password of a lower layer goes to another host", async () => {
    const path = await write("url.yaml", "task_queue: {type: redis, host: a, password: old}\n");
    const loaded = await load({
      file: path,
      environment: { OMNIQ_TASK_QUEUE_URL: "redis://b:7000", OMNIQ_REDIS_PREFIX: "p" },
    });
    expect(loaded.taskQueue.options).toEqual({ host: "b", port: 7000, prefix: "p" });
  });
  test("options without a type find it in a higher layer", async () => {
    const path = await write("untyped.yaml", "task_queue: {host: a}\n");
    expect((await load({ file: path, environment: { OMNIQ_TASK_QUEUE_TYPE: "redis" } })).taskQueue.options).toEqual({
      host: "a",
    });
  });
  test("off in one layer, on again in the next", async () => {
    const path = await write(
      "off.yaml",
      "task_queue: {type: memory}\nresult_storage: false\nevent_storage: {type: redis}\nschedule_storage_type: none\n",
    );
    const off = await load({ file: path, environment: { OMNIQ_EVENT_STORAGE: "none" } });
    expect(off).toMatchObject({ resultStorage: false, eventStorage: false, scheduleStorage: false });
    const on = await load({ file: path, config: { resultStorage: { type: "sqlite" } } });
    expect(on.resultStorage).toMatchObject({ type: "sqlite" });
  });
  test("the file may be named by OMNIQ_CONFIG, by a URL, and be empty", async () => {
    const path = await write("named.yml", "task_queue: {type: memory, name: x}\n");
    expect((await load({ environment: { OMNIQ_CONFIG: path } })).taskQueue.options).toEqual({ name: "x" });
    expect((await load({ file: pathToFileURL(path) })).taskQueue.options).toEqual({ name: "x" });
    expect(
      (await load({ file: await write("empty.yaml", "# nothing\n"), config: { taskQueue: { type: "memory" } } }))
        .taskQueue.type,
    ).toBe("memory");
  });
  test("process.env is the default environment, and false ignores it", async () => {
    process.env["OMNIQ_MEMORY_NAME"] = "from-process";
    try {
      const config = { taskQueueType: "memory" };
      expect((await load({ config, environment: undefined })).taskQueue.options).toEqual({ name: "from-process" });
      expect((await load({ config, environment: false })).taskQueue.options).toEqual({});
    } finally {
      delete process.env["OMNIQ_MEMORY_NAME"];
    }
  });
});

describe("backends", () => {
  test("equal descriptions are one backend, whatever their form", async () => {
    const loaded = await load({
      config: {
        taskQueue: { type: "redis", host: "a", port: 5 },
        resultStorage: "redis://a:5",
        eventStorageType: "valkey",
        event_storage_url: undefined,
        scheduleStorage: { type: "redis", port: 5, host: "a", db: 1 },
        redisHost: "a",
        redis_port: 5,
      },
    });
    expect(loaded.resultStorage).toBe(loaded.taskQueue);
    expect(loaded.eventStorage).toBe(loaded.taskQueue);
    expect(loaded.scheduleStorage).not.toBe(loaded.taskQueue);
  });
  test("objects from code are equal only to themselves, and reach the adapter as they are", async () => {
    const client = { id: 1 };
    const loaded = await load({
      config: {
        taskQueue: { type: "redis", client },
        resultStorage: { type: "redis", client },
        eventStorage: { type: "redis", client: Object.create({}) },
      },
    });
    expect(loaded.taskQueue.options["client"]).toBe(client);
    expect(loaded.resultStorage).toBe(loaded.taskQueue);
    expect(loaded.eventStorage).not.toBe(loaded.taskQueue);
  });
  test("URLs: in place of a description, inside one, flat, and under an alias for the option", async () => {
    expect((await load({ config: { taskQueue: "rediss://:pw@h" } })).taskQueue.options).toEqual({
      host: "h",
      password: "pw",
      tls: true,
    });
    expect((await load({ config: { taskQueue: { url: "redis://h", db: 2 } } })).taskQueue.options).toEqual({
      host: "h",
      db: 2,
    });
    expect(
      (await load({ config: { taskQueue: { type: "postgres", url: "postgresql://h/d" } } })).taskQueue.options,
    ).toEqual({ dsn: "postgresql://h/d" });
    expect((await load({ config: { task_queue_url: "postgresql://h/d" } })).taskQueue.options).toEqual({
      dsn: "postgresql://h/d",
    });
    expect((await load({ environment: { OMNIQ_TASK_QUEUE: "sqlite://./x.db" } })).taskQueue.options).toEqual({
      databasePath: resolve("x.db"),
    });
  });
  test("variables are read by the option's kind", async () => {
    const loaded = await load({
      environment: {
        OMNIQ_TASK_QUEUE_TYPE: "redis",
        OMNIQ_REDIS_PORT: " 7000 ",
        OMNIQ_REDIS_TLS: "yes",
        OMNIQ_REDIS_PASSWORD: " 12 ",
        OMNIQ_REDIS_USER: "7",
        OMNIQ_REDIS_HOST: "",
        OMNIQ_RESULT_STORAGE: '{"type":"file","base_dir":"s"}',
        OMNIQ_FILE_STORAGE_OPTIONS: '{"region":"x"}',
        OMNIQ_EVENT_STORAGE_TYPE: "nats",
        OMNIQ_NATS_SERVERS: "nats://a, nats://b",
        OMNIQ_SCHEDULE_STORAGE_TYPE: "postgresql",
        OMNIQ_POSTGRESQL_RATIO: "0.5",
      },
    });
    expect(loaded.taskQueue.options).toEqual({ port: 7000, tls: true, password: " 12 ", username: "7" });
    expect(loaded.resultStorage).toMatchObject({ options: { baseDir: resolve("s"), storageOptions: { region: "x" } } });
    expect(loaded.eventStorage).toMatchObject({ options: { servers: ["nats://a", "nats://b"] } });
    expect(loaded.scheduleStorage).toMatchObject({ options: { ratio: 0.5 } });
  });
  test("paths count from the file's folder; absolute ones, URLs and :memory: stay", async () => {
    const path = await write(
      "paths.yaml",
      "task_queue:\n  type: sqlite\n  database_path: ':memory:'\nresult_storage: {type: sqlite, database_path: /a/b.db}\n",
    );
    const loaded = await load({
      file: path,
      config: {
        eventStorage: { type: "sqlite", databasePath: "../x.db" },
        scheduleStorage: { type: "sqlite", databasePath: pathToFileURL("/y.db") },
      },
    });
    expect(loaded.taskQueue.options).toEqual({ databasePath: ":memory:" });
    expect(loaded.resultStorage).toMatchObject({ options: { databasePath: "/a/b.db" } });
    expect(loaded.eventStorage).toMatchObject({ options: { databasePath: join(folder, "../x.db") } });
    expect(loaded.scheduleStorage).toMatchObject({ options: { databasePath: "/y.db" } });
  });
  test("flat options of a known type that nothing uses are left alone", async () => {
    expect(
      (await load({ adapters: [memory], config: { taskQueueType: "memory", postgresqlDsn: "x", redis_whatever: 1 } }))
        .taskQueue.options,
    ).toEqual({});
    const path = await write("third.yaml", "task_queue_type: omniq-house\nomniq_house_url: x\n");
    expect((await load({ file: path, config: { taskQueueType: "memory" } })).taskQueue.type).toBe("memory");
  });
});

describe("settings", () => {
  const queue = { taskQueue: { type: "memory" } };
  test("times to live in seconds and milliseconds", async () => {
    expect((await load({ config: { ...queue, result_ttl: 1.5, taskTtl: 60 } }))["defaults"]).toEqual({
      resultTtlMs: 1500,
      expiresInMs: 60_000,
    });
    expect(
      (await load({ config: queue, environment: { OMNIQ_TASK_TTL: "3600", OMNIQ_RESULT_TTL_MS: "250" } }))["defaults"],
    ).toEqual({ resultTtlMs: 250, expiresInMs: 3_600_000 });
    expect(
      (
        await load({
          config: { ...queue, resultTtlMs: 0 },
          environment: { OMNIQ_RESULT_TTL: "forever", OMNIQ_TASK_TTL_MS: "9" },
        })
      )["defaults"],
    ).toEqual({ resultTtlMs: 0, expiresInMs: 9 });
    expect(
      (
        await load({
          config: { ...queue, taskTtl: null },
          environment: { OMNIQ_RESULT_TTL: "forever", OMNIQ_TASK_TTL_MS: "9" },
        })
      )["defaults"],
    ).toEqual({ resultTtlMs: null });
  });
  test("defaults and queues, in both cases, merged over layers", async () => {
    const path = await write(
      "settings.yaml",
      [
        "task_queue: {type: memory}",
        "defaults: {queue: mail, priority: -5, timeout_ms: null, retry: {max_attempts: 3, delay_ms: 10}, headers: {a: b}}",
        "queues: {camelCase: {max_active: 5, rate_limit: {limit: 10, window_ms: 1000}}, other: {dead_letter_ttl_ms: 1}}",
        "log_level: WARNING",
        "default_worker: process",
      ].join("\n"),
    );
    const loaded = await load({
      file: path,
      environment: { OMNIQ_DEFAULTS: '{"retry":{"jitter":0}}' },
      config: {
        defaults: { retry: { maxAttempts: 9 }, resultTtlMs: 7 },
        queues: { camelCase: { maxActive: null, rateLimit: { limit: 20 } } },
      },
    });
    expect(loaded["defaults"]).toEqual({
      queue: "mail",
      priority: -5,
      timeoutMs: null,
      retry: { maxAttempts: 9, delayMs: 10, jitter: 0 },
      headers: { a: "b" },
      resultTtlMs: 7,
    });
    expect(loaded["queues"]).toEqual({
      camelCase: { maxActive: null, rateLimit: { limit: 20, windowMs: 1000 } },
      other: { deadLetterTtlMs: 1 },
    });
    expect(loaded).toMatchObject({ logLevel: "warn", defaultWorkerKind: "process" });
  });
  test("serializer and logger pass through", async () => {
    const serializer = { name: "x", serialize: String, deserialize: String };
    expect((await load({ config: queue, serializer }))["serializer"]).toBe(serializer);
  });
  test("no task queue", async () => {
    expect((await failure({})).message).toMatch(/no task queue is described; set task_queue .*OMNIQ_TASK_QUEUE_TYPE/);
    expect(
      (await failure({ config: { resultStorage: { type: "memory" }, eventStorage: { type: "nats" } } })).message,
    ).toContain("several backends");
  });
});
