// @omniq/nats: tasks, results, events and schedules in NATS JetStream.
import { defineAdapter, type Adapter } from "@omniq/core";
import { NatsBackend } from "./backend.ts";
import { checkOptions, fromUrl, type NatsOptions } from "./options.ts";

export type { NatsBackend } from "./backend.ts";
export type { NatsDurability } from "./durability.ts";
export type { NatsOptions, NatsTlsOptions } from "./options.ts";

declare module "@omniq/core" {
  interface BackendOptions {
    nats: NatsOptions;
  }
}

/**
 * Makes a backend on a NATS server with JetStream: `nats({ servers: ["nats://localhost:4222"] })`. It connects at the first call. Throws
 * `OMNIQ_CONFIG_INVALID` where an option can't be used.
 */
export const nats: Adapter<"nats", NatsOptions | void, NatsBackend> = defineAdapter<
  "nats",
  NatsBackend,
  NatsOptions | void
>({
  type: "nats",
  contract: 1,
  aliases: ["tls"],
  options: {
    servers: "strings",
    username: "string",
    password: "secret",
    token: "secret",
    credentials: "path",
    tls: "record",
    prefix: "string",
    inboxPrefix: "string",
    replicas: "integer",
    partitions: "record",
    connection: "code",
    eventTtlMs: "integer",
    checkpointBytes: "integer",
    giveUpMs: "integer",
    durabilityWarning: "boolean",
  },
  optionAliases: { user: "username", pass: "password", creds: "credentials", server: "servers", url: "servers" },
  fromUrl,
  create: (options) => new NatsBackend(checkOptions(options ?? {})),
});
export { nats as adapter };
