// What is wrong with a configuration: every problem with its key and its source, and never a secret.
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isOmniQError } from "../src/errors.ts";
import { resolveConfiguration } from "../src/configuration/index.ts";
import { events, fakes, failure, load, made, redis, type FakeBackend } from "./configuration-fakes.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "omniq-configuration-"));
});
afterAll(() => rm(folder, { recursive: true }));
async function write(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}
const memory = { type: "memory" };

describe("keys and values", () => {
  test.each<[string, Parameters<typeof failure>[0], string]>([
    [
      "unknown option, nested",
      { config: { taskQueue: { type: "redis", prot: 1 } } },
      "taskQueue.prot (code): unknown key; did you mean port?",
    ],
    [
      "unknown option, camelCase",
      { config: { taskQueue: { type: "sqlite", databsePath: "x" } } },
      "taskQueue.databsePath (code): unknown key; did you mean databasePath?",
    ],
    [
      "unknown option, flat",
      { config: { taskQueueType: "redis", redisHots: "x" } },
      "redisHots (code): unknown key; did you mean redisHost?",
    ],
    [
      "unknown flat snake_case",
      { config: { task_queue_type: "redis", redis_hots: "x" } },
      "redis_hots (code): unknown key; did you mean redis_host?",
    ],
    [
      "unknown top-level key",
      { config: { taskQueue: memory, evntStorage: memory } },
      "evntStorage (code): unknown key; did you mean eventStorage?",
    ],
    [
      "unknown variable",
      { environment: { OMNIQ_TASK_QEUE_TYPE: "redis", OMNIQ_RESULT_STORAGE_TYPE: "memory" } },
      "OMNIQ_TASK_QEUE_TYPE (environment): unknown key; did you mean OMNIQ_TASK_QUEUE_TYPE?",
    ],
    [
      "unknown option variable",
      { environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_HOTS: "x" } },
      "OMNIQ_REDIS_HOTS (environment): unknown key; did you mean OMNIQ_REDIS_HOST?",
    ],
    [
      "prototype names",
      { config: { taskQueue: { type: "redis", constructor: 1 } } },
      "taskQueue.constructor (code): unknown key",
    ],
    [
      "wrong type",
      { config: { taskQueueType: "redis", redisPort: "6379" } },
      "redisPort (code): must be a whole number, not a string",
    ],
    [
      "fraction",
      { config: { taskQueue: { type: "redis", port: 1.5 } } },
      "taskQueue.port (code): must be a whole number",
    ],
    [
      "wrong variable",
      { environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_PORT: "63a" } },
      "OMNIQ_REDIS_PORT (environment): must be a whole number, not what was given",
    ],
    [
      "wrong boolean variable",
      { environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_TLS: "maybe" } },
      "must be true or false",
    ],
    [
      "number for a string",
      { config: { taskQueue: { type: "redis", password: 123 } } },
      "must be a string, not a number; put it in quotes",
    ],
    ["list of numbers", { config: { taskQueue: { type: "nats", servers: [1] } } }, "must be a list of strings"],
    [
      "code only",
      { environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_CLIENT: "x" } },
      "OMNIQ_REDIS_CLIENT (environment): can only be given in code",
    ],
    [
      "both cases",
      { config: { taskQueue: { type: "sqlite", databasePath: "a", database_path: "b" } } },
      "taskQueue.database_path (code): given twice, here and as taskQueue.databasePath",
    ],
    [
      "both cases at the top",
      { config: { taskQueue: memory, task_queue: memory } },
      "task_queue (code): given twice, here and as taskQueue",
    ],
    [
      "both cases of a flat key",
      { config: { taskQueueType: "redis", redisHost: "a", redis_host: "a" } },
      "redis_host (code): given twice",
    ],
    [
      "option and alias",
      { config: { taskQueue: { type: "redis", user: "a", username: "b" } } },
      "given twice, here and as taskQueue.user",
    ],
    [
      "two names of a type",
      { config: { taskQueueType: "postgres", postgresDsn: "a", postgresqlDsn: "b" } },
      "postgresqlDsn (code): given twice, here and as postgresDsn",
    ],
    [
      "nested and flat type",
      { config: { taskQueue: memory, taskQueueType: "memory" } },
      "taskQueueType (code): given twice, here and as taskQueue.type",
    ],
    [
      "off and options",
      { config: { taskQueue: memory, resultStorage: false, resultStorageType: "redis" } },
      "contradicts resultStorage",
    ],
    [
      "no type",
      { config: { taskQueue: { host: "a" } } },
      "taskQueue.host (code): belongs to a component without a type",
    ],
    [
      "task queue off",
      { config: { taskQueue: false, resultStorage: memory } },
      "taskQueue (code): there is no OmniQ without a task queue",
    ],
    ["not a description", { config: { taskQueue: "redis" } }, "taskQueue (code): must be a description with a type"],
    ["null", { config: { taskQueue: memory, eventStorage: null } }, "eventStorage (code): must be a description"],
    ["a backend", { config: { taskQueue: new Map() } }, "backends and components go to `new OmniQ(…)`"],
    [
      "wrong JSON in a variable",
      { environment: { OMNIQ_TASK_QUEUE: '{"type": x}' } },
      "OMNIQ_TASK_QUEUE (environment): not valid JSON: unexpected character at line 1, column 10",
    ],
    [
      "gevent",
      { config: { taskQueue: memory }, environment: { OMNIQ_DEFAULT_WORKER: "gevent" } },
      "OMNIQ_DEFAULT_WORKER (environment): gevent is a library of Python's",
    ],
    [
      "unknown worker",
      { config: { taskQueue: memory, defaultWorker: "threads" } },
      "defaultWorker (code): must be one of async, thread, process; did you mean thread?",
    ],
    [
      "unknown level",
      { config: { taskQueue: memory, log_level: 3 } },
      "log_level (code): must be one of debug, info, warn, error, silent, not a number",
    ],
    [
      "negative time to live",
      { config: { taskQueue: memory, resultTtl: -1 } },
      "resultTtl (code): must be a number of at least 0",
    ],
    [
      "both units",
      { config: { taskQueue: memory }, environment: { OMNIQ_TASK_TTL: "1", OMNIQ_TASK_TTL_MS: "1000" } },
      "OMNIQ_TASK_TTL_MS (environment): given twice, here and in OMNIQ_TASK_TTL",
    ],
    [
      "both places",
      { config: { taskQueue: memory, resultTtl: 1, defaults: { resultTtlMs: 2 } } },
      "resultTtl (code): given twice, here and in defaults",
    ],
    [
      "unknown default",
      { config: { taskQueue: memory, defaults: { retry: { attempts: 1 } } } },
      "defaults.retry.attempts (code): unknown key",
    ],
    [
      "unknown setting of a queue",
      { config: { taskQueue: memory, queues: { a: { max_activ: 1 } } } },
      "queues.a.max_activ (code): unknown key; did you mean max_active?",
    ],
    [
      "half a rate limit",
      { config: { taskQueue: memory, queues: { a: { rateLimit: { limit: 1 } } } } },
      "queues.a: rate_limit needs both",
    ],
    [
      "URL of another adapter",
      { config: { taskQueue: { type: "redis", url: "sqlite://x" } } },
      "taskQueue.url (code): must be a URL whose scheme is one of redis, rediss",
    ],
    ["URL that is not taken", { config: { taskQueue: "memory://x" } }, "the adapter memory takes no URL"],
    ["URL as a type", { config: { taskQueueType: "redis://:hunter2@h" } }, "taskQueueType (code): is a URL"],
    [
      "component that the adapter lacks",
      { config: { taskQueue: memory, resultStorage: { type: "fakeevents", address: "x" } } },
      "resultStorage.type (code): the adapter fakeevents has no result storage",
    ],
    [
      "the adapter's own check",
      { config: { taskQueue: { type: "redis", port: 1 } } },
      "taskQueue.type (code): port 1 is not for Redis",
    ],
  ])("%s", async (_name, options, message) => {
    const found = await failure(options);
    expect(found.code).toBe("OMNIQ_CONFIG_INVALID");
    expect(found.message).toContain(message);
  });
  test("several are told together, each with its source", async () => {
    const path = await write(
      "several.yaml",
      "task_queue:\n  type: redis\n  prot: 1\nresult_storage: {type: nowhere}\nlog_level: loud\n",
    );
    const { code, message } = await failure({
      file: path,
      environment: { OMNIQ_REDIS_DB: "x", OMNIQ_DEFAULT_WORKER: "gevent" },
      config: { queus: {} },
    });
    expect(code).toBe("OMNIQ_CONFIG_INVALID");
    expect(message).toContain("has 6 problems");
    for (const part of [
      `task_queue.prot (${path})`,
      `log_level (${path})`,
      `result_storage.type (${path}): no adapter`,
      "OMNIQ_REDIS_DB (environment)",
      "OMNIQ_DEFAULT_WORKER (environment)",
      "queus (code): unknown key; did you mean queues?",
    ]) {
      expect(message).toContain(part);
    }
  });
  test("secrets stay out of every message and cause", async () => {
    const secret = "hunter2";
    const broken = await write("secret.yaml", `task_queue: {type: redis, password: "${secret}`);
    const json = await write("secret.json", `{"taskQueue": {"password": "${secret}"`);
    const wrong = [
      { config: { taskQueue: { type: "redis", password: [secret] } } },
      { config: { taskQueue: `redis://:${secret}@:x:1` } },
      { config: { taskQueue: { type: "redis", port: 2, password: secret } } },
      { environment: { OMNIQ_TASK_QUEUE: `{"a": ${secret}}` } },
      { config: { taskQueueType: `redis://:${secret}@h` } },
      { config: { taskQueue: { type: "sqlite", url: `redis://:${secret}@h` } } },
      { file: broken },
      { file: json },
      { environment: { OMNIQ_TASK_QUEUE_TYPE: "redis", OMNIQ_REDIS_PORT: secret } },
    ];
    for (const options of wrong) {
      const error = await load(options).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(isOmniQError(error)).toBe(true);
      expect(`${(error as Error).message} ${JSON.stringify(error)} ${String((error as Error).cause)}`).not.toContain(
        secret,
      );
    }
  });
  test("a backend that can't be made closes those made before it; other errors of adapters pass unchanged", async () => {
    const before = made.length;
    const { code } = await failure({
      config: { taskQueue: { type: "memory", name: "first" }, resultStorage: { type: "redis", port: 3 } },
    });
    expect(code).toBe("OMNIQ_BACKEND_UNAVAILABLE");
    expect(made.slice(before).map((backend: FakeBackend) => [backend.type, backend.closed])).toEqual([["memory", 1]]);
  });
});

describe("files", () => {
  test.each([
    ["missing.yaml", undefined, "does not exist"],
    ["config.toml", "", "must end in .yaml, .yml or .json"],
    ["list.yaml", "- a\n", "must hold a map of keys, not an array"],
    ["broken.json", '{\n  "logLevel": "info",\n}', "not valid JSON: unexpected character at line 3, column 1"],
    ["short.json", '{"a": [1, "b\\u00e9", -1.5e3, true', "not valid JSON: it ends too early"],
    ["broken.yaml", "task_queue:\n  type: redis\n port: 1\n", "at line 3, column 1"],
    ["twice.yaml", "log_level: info\nlog_level: warn\n", "Map keys must be unique at line 2, column 1"],
    ["tag.yaml", "task_queue: !!js/function x\n", "not valid YAML: Unresolved tag at line 1"],
    ["alias.yaml", "a: *nowhere\n", "not valid YAML: "],
    ["deep.json", "[".repeat(100_000), "nested too deeply"],
    ["deep.yaml", "[".repeat(100_000), "not valid YAML: "],
    [
      "bomb.yaml",
      [
        "a: &a [1, 2]",
        ..."bcdefgh".split("").map((key, i) => `${key}: &${key} [${`*${"abcdefgh"[i]}, `.repeat(9)}]`),
      ].join("\n"),
      "multiply too far",
    ],
  ])("%s", async (name, text, message) => {
    const path = text === undefined ? join(folder, name) : await write(name, text);
    const found = await failure({ file: path });
    expect(found.code).toBe("OMNIQ_CONFIG_INVALID");
    expect(found.message).toContain(message);
    expect(found.message).toContain(name);
  });
  test("a folder, and a URL that is no file", async () => {
    await mkdir(join(folder, "folder.yaml"));
    expect((await failure({ file: join(folder, "folder.yaml") })).message).toContain("can't be read (EISDIR)");
    expect((await failure({ file: new URL("https://example.com/a.yaml") })).message).toContain("not a https: URL");
  });
});

describe("adapters", () => {
  async function install(name: string, exports: unknown, code: string): Promise<void> {
    const root = join(folder, "node_modules", name);
    await mkdir(root, { recursive: true });
    await writeFile(join(root, "package.json"), JSON.stringify({ name, type: "module", exports }));
    await writeFile(join(root, "index.js"), code);
  }
  const backend = (type: string): string => `
    const make = (kind) => ({ type: kind, contract: 1, check: async () => {}, close: async () => {}, taskQueue() {}, resultStorage() {}, eventStorage() {}, scheduleStorage() {} });
    export const adapter = Object.assign((options) => ({ ...make("${type}"), options }), { type: "${type}", contract: 1, aliases: [], options: { baseUrl: "string" }, optionAliases: {} });`;
  test("a package beside the file, whatever conditions it exports, under its short or its full name", async () => {
    await install(
      "@omniq/clickhouse",
      { ".": { types: "./index.d.ts", default: "./index.js" } },
      backend("clickhouse"),
    );
    await install("omniq-house", { import: "./index.js" }, backend("house"));
    await install("@acme/omniq-x", "./index.js", backend("acme"));
    const path = await write(
      "packages.yaml",
      [
        "task_queue: {type: clickhouse, base_url: a}",
        "result_storage_type: omniq-house",
        "house_base_url: b",
        "event_storage_type: '@acme/omniq-x'",
        "acme_base_url: c",
      ].join("\n"),
    );
    const loaded = await load({ file: path });
    expect(loaded.taskQueue).toMatchObject({ type: "clickhouse", options: { baseUrl: "a" } });
    expect(loaded.resultStorage).toMatchObject({ type: "house", options: { baseUrl: "b" } });
    expect(loaded.eventStorage).toMatchObject({ type: "acme", options: { baseUrl: "c" } });
  });
  test("an adapter's load imports from there too", async () => {
    await install("omniq-test-store", "./index.js", "export const store = 'the store';");
    const path = await write(
      "store.yaml",
      "task_queue: {type: file, base_dir: 's3://bucket', storage_options: {region: x}}\n",
    );
    expect((await load({ file: path })).taskQueue.options).toEqual({
      baseDir: "s3://bucket",
      storageOptions: { region: "x" },
      store: "the store",
    });
  });
  test("missing: the install command, and the nearest type", async () => {
    const found = await failure({ file: await write("missing-adapter.yaml", "task_queue: {type: nothere}\n") });
    expect(found.code).toBe("OMNIQ_ADAPTER_NOT_FOUND");
    expect(found.message).toContain("task_queue.type");
    // Nobody is told to install what does not exist.
    expect(found.message).toContain("such as @example/omniq-nothere");
    expect(found.message).not.toContain("npm install");
    const near = await failure({ config: { taskQueue: { type: "reddis" }, eventStorage: { type: "omniq-gone" } } });
    expect(near.code).toBe("OMNIQ_ADAPTER_NOT_FOUND");
    expect(near.message).toContain("did you mean redis?");
    expect(near.message).toContain("npm install omniq-gone");
  });
  test.each(["../x", "/etc/passwd", "node:fs", "fs", "Redis"])(
    "%s is no adapter, and is not imported",
    async (type) => {
      expect((await failure({ config: { taskQueue: { type } } })).code).toBe("OMNIQ_ADAPTER_NOT_FOUND");
    },
  );
  test("not an adapter, another contract, broken", async () => {
    await install("omniq-empty", "./index.js", "export const x = 1;");
    await install(
      "omniq-future",
      "./index.js",
      backend("future").replace("contract: 1, aliases", "contract: 2, aliases"),
    );
    await install("omniq-broken", "./index.js", "throw new Error('its client is missing');");
    for (const [type, message] of [
      ["omniq-empty", "no export `adapter`"],
      ["omniq-future", "contract 2"],
      ["omniq-broken", "its client is missing"],
    ] as const) {
      const found = await failure({ file: await write(`${type}.yaml`, `task_queue: {type: ${type}}\n`) });
      expect(found.code).toBe("OMNIQ_ADAPTER_INCOMPATIBLE");
      expect(found.message).toContain(message);
    }
    const passed = await resolveConfiguration({
      adapters: [...fakes, {} as never],
      environment: false,
      config: { taskQueueType: "redis" } as never,
    }).catch((error: unknown) => error);
    expect(isOmniQError(passed, "OMNIQ_ADAPTER_INCOMPATIBLE")).toBe(true);
  });
  test("one that is passed in code wins over a package", async () => {
    await install("@omniq/redis", "./index.js", "throw new Error('not this one');");
    const path = await write(
      "passed.yaml",
      "task_queue: {type: valkey, host: a}\nevent_storage: {type: fakeevents, address: b}\n",
    );
    const loaded = await load({ file: path, adapters: [redis, events as never] });
    expect(loaded.taskQueue).toMatchObject({ type: "redis", options: { host: "a" } });
    expect(loaded.eventStorage).toMatchObject({ type: "fakeevents" });
  });
});
