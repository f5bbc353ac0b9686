// @omniq/sqlite: tasks, results, events and schedules in one SQLite file.
import { defineAdapter, type Adapter } from "@omniq/core";
import { SqliteBackend } from "./backend.ts";
import { checkOptions, fromUrl, type SqliteDatabaseLike, type SqliteOptions } from "./options.ts";

export type { SqliteDatabaseLike, SqliteOptions, SqliteStatementLike } from "./options.ts";
export type { SqliteBackend } from "./backend.ts";
export type { SqliteTaskQueue } from "./task-queue.ts";
export type { SqliteResultStorage } from "./result-storage.ts";
export type { SqliteEventStorage } from "./event-storage.ts";
export type { SqliteScheduleStorage } from "./schedule-storage.ts";

declare module "@omniq/core" {
  interface BackendOptions {
    sqlite: SqliteOptions;
  }
  interface Transactions {
    sqlite: SqliteDatabaseLike;
  }
}

/**
 * Makes a backend on an SQLite file: `sqlite({ databasePath: "./omniq.db" })`. The file is opened at the first call. Throws
 * `OMNIQ_CONFIG_INVALID` where an option can't be used.
 */
export const sqlite: Adapter<"sqlite", SqliteOptions, SqliteBackend> = defineAdapter<"sqlite", SqliteBackend>({
  type: "sqlite",
  contract: 1,
  aliases: ["sqlite3"],
  options: {
    databasePath: "path",
    synchronous: "string",
    database: "code",
    prefix: "string",
    eventTtlMs: "integer",
    now: "code",
  },
  optionAliases: { path: "databasePath", filename: "databasePath" },
  fromUrl,
  create: (options) => new SqliteBackend(checkOptions(options)),
});
export { sqlite as adapter };

export { sqliteDriver, type SqliteDriver, type SqliteDriverDatabase } from "./driver.ts";
