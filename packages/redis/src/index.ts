// @omniq/redis: tasks, results, events and schedules in Redis or Valkey.
import { defineAdapter, type Adapter } from "@omniq/core";
import { RedisBackend } from "./backend.ts";
import { checkOptions, fromUrl, type RedisOptions } from "./options.ts";

export type { RedisClientLike, RedisOptions } from "./options.ts";
export type { RedisBackend } from "./backend.ts";
export type { RedisTaskQueue } from "./task-queue.ts";
export type { RedisResultStorage } from "./result-storage.ts";
export type { RedisEventStorage } from "./event-storage.ts";
export type { RedisScheduleStorage } from "./schedule-storage.ts";

declare module "@omniq/core" {
  interface BackendOptions {
    redis: RedisOptions;
  }
}

/**
 * Makes a backend on a Redis or Valkey server: `redis({ host: "localhost" })`. It connects at the first call. Throws
 * `OMNIQ_CONFIG_INVALID` where an option can't be used.
 */
export const redis: Adapter<"redis", RedisOptions, RedisBackend> = defineAdapter<"redis", RedisBackend>({
  type: "redis",
  contract: 1,
  aliases: ["rediss", "valkey", "valkeys"],
  options: {
    url: "secret",
    host: "string",
    port: "integer",
    db: "integer",
    username: "string",
    password: "secret",
    tls: "boolean",
    sentinels: "strings",
    name: "string",
    cluster: "strings",
    prefix: "string",
    client: "code",
    waitReplicas: "integer",
    eventTtlMs: "integer",
  },
  optionAliases: { user: "username", database: "db", masterName: "name", nodes: "cluster" },
  fromUrl,
  create: (options) => new RedisBackend(checkOptions(options), options),
});
export { redis as adapter };
