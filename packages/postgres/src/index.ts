// @omniq/postgres: tasks, results, events and schedules in one schema of a PostgreSQL database.
import { defineAdapter, type Adapter } from "@omniq/core";
import { PostgresBackend } from "./backend.ts";
import { Connection } from "./connection.ts";
import { checkOptions, fromUrl, type PostgresClientLike, type PostgresOptions } from "./options.ts";

export type { PostgresClientLike, PostgresOptions, PostgresPoolClientLike, PostgresPoolLike } from "./options.ts";
export type { PostgresBackend } from "./backend.ts";
export type { PostgresTaskQueue } from "./task-queue.ts";
export type { PostgresResultStorage } from "./result-storage.ts";
export type { PostgresEventStorage } from "./event-storage.ts";
export type { PostgresScheduleStorage } from "./schedule-storage.ts";

declare module "@omniq/core" {
  interface BackendOptions {
    postgres: PostgresOptions;
    postgresql: PostgresOptions;
  }
  interface Transactions {
    postgres: PostgresClientLike;
  }
}

/**
 * Makes a backend on a PostgreSQL server: `postgres({ dsn: "postgresql://user:password@localhost:5432/app" })`. It connects at the first
 * call. Throws `OMNIQ_CONFIG_INVALID` where an option can't be used.
 */
export const postgres: Adapter<"postgres", PostgresOptions, PostgresBackend> = defineAdapter<
  "postgres",
  PostgresBackend
>({
  type: "postgres",
  contract: 1,
  aliases: ["postgresql"],
  options: {
    dsn: "secret",
    host: "string",
    port: "integer",
    database: "string",
    username: "string",
    password: "secret",
    tls: "boolean",
    schema: "string",
    maxConnections: "integer",
    pool: "code",
    listen: "boolean",
    migrate: "boolean",
    eventTtlMs: "integer",
  },
  optionAliases: {
    user: "username",
    ssl: "tls",
    connectionString: "dsn",
    url: "dsn",
    databaseName: "database",
    dbname: "database",
    max: "maxConnections",
  },
  fromUrl,
  create: (options) => new PostgresBackend(checkOptions(options)),
});
export { postgres as adapter };

/**
 * Makes or updates the schema and its tables, for deployments where the application may not (`migrate: false`). Safe to run from many
 * processes at once. Needs the right to create the schema, or to create in it.
 */
export async function migrate(options: PostgresOptions): Promise<void> {
  const connection = new Connection(checkOptions({ ...options, migrate: true }));
  try {
    await connection.ready();
  } finally {
    await connection.close(true);
  }
}
