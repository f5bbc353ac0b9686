// The compiler's side of configuration: right keys compile in every form, wrong ones do not. The compiler itself is run below.
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { LoadOptions, OmniQConfig } from "../src/configuration/index.ts";
import type {} from "@omniq/memory";
import type {} from "@omniq/sqlite";
import "./configuration-fakes.ts";

const accept = (...configs: readonly OmniQConfig[]): readonly OmniQConfig[] => configs;

test("right forms", () => {
  const right = accept(
    {
      taskQueue: { type: "fakeredis", host: "localhost", port: 6379, db: 0 },
      resultStorage: { type: "fakesqlite", databasePath: "./r.db" },
      eventStorage: "postgresql://user@host/db",
    },
    {
      task_queue: { type: "fakefile", base_dir: "x", storage_options: { region: "y" } },
      result_storage: false,
      event_storage: "none",
      schedule_storage: { type: "fakenats", servers: ["a"] },
    },
    {
      taskQueueType: "fakeredis",
      fakeredisHost: "x",
      fakeredisPort: 1,
      resultStorageType: "fakesqlite",
      fakesqliteDatabasePath: "y",
      eventStorageType: "none",
    },
    {
      task_queue_type: "fakefile",
      fakefile_base_dir: "x",
      fakefile_storage_options: {},
      result_storage_url: "redis://h",
      scheduleStorageUrl: "redis://h",
    },
    {
      resultTtl: 1,
      task_ttl_ms: 5,
      logLevel: "silent",
      default_worker: "thread",
      defaults: { retry: { max_attempts: 3 }, timeout_ms: null },
    },
    {
      defaults: { priority: 3, retry: { maxAttempts: 3 }, resultTtlMs: null, expiresInMs: 5 },
      queues: { a: { maxActive: 1, rateLimit: { limit: 1, windowMs: 1 } }, b: { max_active: 1, rate_limit: null } },
    },
  );
  expect(right).toHaveLength(6);
});

test("the options of installed adapters", () => {
  const configs = accept(
    { taskQueue: { type: "memory" }, resultStorage: { type: "sqlite", databasePath: "x" } },
    {
      task_queue_type: "memory",
      result_storage_type: "sqlite",
      sqlite_database_path: "x",
      sqlite_synchronous: "normal",
    },
    { task_queue: { type: "sqlite", database_path: "x" }, event_storage: { type: "memory", name: "x" } },
    // @ts-expect-error misspelt
    { taskQueue: { type: "sqlite", databasPath: "x" } },
  );
  expect(configs).toHaveLength(4);
});

test("wrong forms", () => {
  const wrong = [
    // @ts-expect-error misspelt option
    accept({ taskQueue: { type: "fakeredis", hots: "x" } }),
    // @ts-expect-error misspelt option in snake_case
    accept({ task_queue: { type: "fakesqlite", databse_path: "x" } }),
    // @ts-expect-error unknown type
    accept({ taskQueue: { type: "fakerediss" } }),
    // @ts-expect-error an option of another type
    accept({ taskQueue: { type: "fakeredis", databasePath: "x" } }),
    // @ts-expect-error wrong type of an option
    accept({ taskQueue: { type: "fakeredis", port: "6379" } }),
    // @ts-expect-error a description without a type
    accept({ taskQueue: { host: "x" } }),
    // @ts-expect-error a task queue can't be off
    accept({ taskQueue: false }),
    // @ts-expect-error not a URL
    accept({ taskQueue: "fakeredis" }),
    // @ts-expect-error wrong type of a flat option
    accept({ taskQueueType: "fakeredis", fakeredisPort: "6379" }),
    // @ts-expect-error misspelt flat option
    accept({ taskQueueType: "fakeredis", fakeredisHots: "x" }),
    // @ts-expect-error misspelt flat option in snake_case
    accept({ task_queue_type: "fakesqlite", fakesqlite_databse_path: "x" }),
    // @ts-expect-error unknown flat type
    accept({ taskQueueType: "fakerediss" }),
    // @ts-expect-error an adapter's choice of words
    accept({ taskQueue: { type: "fakesqlite", synchronous: "off" } }),
    // @ts-expect-error unknown level
    accept({ logLevel: "loud" }),
    // @ts-expect-error unknown worker
    accept({ defaultWorker: "gevent" }),
    // @ts-expect-error misspelt default
    accept({ defaults: { retries: 3 } }),
    // @ts-expect-error misspelt setting of a queue
    accept({ queues: { a: { maxActiv: 1 } } }),
  ];
  const options: LoadOptions = { file: new URL("file:///x.yaml"), environment: { OMNIQ_X: "y" } };
  expect(wrong).toHaveLength(17);
  expect(options.config).toBeUndefined();
});

test("the compiler agrees", async () => {
  const here = fileURLToPath(import.meta.url);
  const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  const flags =
    "--ignoreConfig --noEmit --strict --exactOptionalPropertyTypes --noUncheckedIndexedAccess --skipLibCheck --allowImportingTsExtensions --target es2023 --module nodenext --types node --lib es2023,esnext.disposable";
  const output = await new Promise<string>((done) => {
    execFile(
      process.execPath,
      [compiler, ...flags.split(" "), "--customConditions", "@omniq/source", here],
      { cwd: dirname(here) },
      (_error, stdout) => done(stdout),
    );
  });
  // Only what concerns this file: the rest of the package has its own check.
  expect(output.split("\n").filter((line) => line.includes("configuration"))).toEqual([]);
  expect(output).not.toMatch(/error TS5\d{3}|TS6\d{3}/);
}, 60_000);
