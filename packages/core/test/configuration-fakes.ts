// Adapters for the tests of configuration: their backends remember their options and do nothing else.
import { defineAdapter, type Adapter, type BackendBase, type Components } from "../src/backend.ts";
import type { AnyAdapter } from "../src/backend.ts";
import { isOmniQError, OmniQError } from "../src/errors.ts";
import { resolveConfiguration, type LoadOptions } from "../src/configuration/index.ts";

export interface FakeRedisOptions {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly db?: number | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly prefix?: string | undefined;
  readonly tls?: boolean | undefined;
  readonly client?: object | undefined;
}
export interface FakePostgresOptions {
  readonly dsn?: string | undefined;
  readonly maxConnections?: number | undefined;
  readonly ratio?: number | undefined;
}
export interface FakeSqliteOptions {
  readonly databasePath?: string | undefined;
  readonly synchronous?: "full" | "normal" | undefined;
}
export interface FakeFileOptions {
  readonly baseDir: string;
  readonly storageOptions?: Readonly<Record<string, unknown>> | undefined;
}
export interface FakeNatsOptions {
  readonly servers?: readonly string[] | undefined;
}
export interface FakeMemoryOptions {
  readonly name?: string | undefined;
}
export interface FakeEventsOptions {
  readonly address: string;
}
// The compiler knows them under names of their own, as the real adapters may be in the same program; at run time they have the real types.
declare module "@omniq/core" {
  interface BackendOptions {
    fakeredis: FakeRedisOptions;
    fakepostgres: FakePostgresOptions;
    fakesqlite: FakeSqliteOptions;
    fakefile: FakeFileOptions;
    fakenats: FakeNatsOptions;
    fakememory: FakeMemoryOptions;
    fakeevents: FakeEventsOptions;
  }
}

export class FakeBackend implements BackendBase {
  readonly contract = 1;
  readonly type: string;
  readonly options: Readonly<Record<string, unknown>>;
  closed = 0;
  constructor(type: string, options: object) {
    this.type = type;
    this.options = { ...options };
    made.push(this);
  }
  async check(): Promise<void> {}
  async close(): Promise<void> {
    this.closed++;
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
export class FullFakeBackend extends FakeBackend {
  taskQueue(): Components["taskQueue"] {
    throw new Error("not used");
  }
  resultStorage(): Components["resultStorage"] {
    throw new Error("not used");
  }
  eventStorage(): Components["eventStorage"] {
    throw new Error("not used");
  }
  scheduleStorage(): Components["scheduleStorage"] {
    throw new Error("not used");
  }
}
export class EventsFakeBackend extends FakeBackend {
  eventStorage(): Components["eventStorage"] {
    throw new Error("not used");
  }
}
/** All backends that were made, in order. */
export const made: FakeBackend[] = [];

/** An adapter as a package would export it, under the type that the test wants to see. */
function as<A extends AnyAdapter>(type: string, aliases: readonly string[], adapter: A): AnyAdapter {
  return Object.assign(adapter, { type, aliases }) as unknown as AnyAdapter;
}
export const redis: AnyAdapter = as(
  "redis",
  ["rediss", "valkey"],
  defineAdapter({
    type: "fakeredis",
    contract: 1,
    optionAliases: { user: "username" },
    options: {
      host: "string",
      port: "integer",
      db: "integer",
      username: "string",
      password: "secret",
      prefix: "string",
      tls: "boolean",
      client: "code",
    },
    fromUrl: (text) => {
      const url = new URL(text);
      return {
        host: url.hostname,
        ...(url.port && { port: Number(url.port) }),
        ...(url.password && { password: decodeURIComponent(url.password) }),
        ...(url.protocol === "rediss:" && { tls: true }),
      };
    },
    create: (options) => {
      if (options.port === 1) throw new OmniQError("OMNIQ_INVALID_OPTION", "port 1 is not for Redis");
      if (options.port === 2) throw new TypeError(`no luck with ${options.password}`);
      if (options.port === 3) throw new OmniQError("OMNIQ_BACKEND_UNAVAILABLE", "away");
      return new FullFakeBackend("redis", options);
    },
  }),
);
export const postgres: AnyAdapter = as(
  "postgres",
  ["postgresql"],
  defineAdapter({
    type: "fakepostgres",
    contract: 1,
    options: { dsn: "secret", maxConnections: "integer", ratio: "number" },
    optionAliases: { url: "dsn" },
    fromUrl: (dsn) => ({ dsn }),
    create: (options) => new FullFakeBackend("postgres", options),
  }),
);
export const sqlite: AnyAdapter = as(
  "sqlite",
  [],
  defineAdapter({
    type: "fakesqlite",
    contract: 1,
    options: { databasePath: "path", synchronous: "string" },
    fromUrl: (url) => ({ databasePath: url.slice("sqlite://".length) }),
    create: (options) => new FullFakeBackend("sqlite", options),
  }),
);
export const file: AnyAdapter = as(
  "file",
  ["s3"],
  defineAdapter({
    type: "fakefile",
    contract: 1,
    options: { baseDir: "path", storageOptions: "record" },
    create: (options) => new FullFakeBackend("file", options),
    load: async (options, loader) => {
      const store = options.baseDir.startsWith("s3://") ? await loader.import("omniq-test-store") : {};
      return new FullFakeBackend("file", { ...options, ...store });
    },
  }),
);
export const nats: AnyAdapter = as(
  "nats",
  [],
  defineAdapter({
    type: "fakenats",
    contract: 1,
    options: { servers: "strings" },
    create: (options) => new FullFakeBackend("nats", options),
  }),
);
export const memory: AnyAdapter = as(
  "memory",
  [],
  defineAdapter({
    type: "fakememory",
    contract: 1,
    options: { name: "string" },
    create: (options) => new FullFakeBackend("memory", options),
  }),
);
export const events: Adapter<"fakeevents", FakeEventsOptions, EventsFakeBackend> = defineAdapter({
  type: "fakeevents",
  contract: 1,
  options: { address: "string" },
  create: (options: FakeEventsOptions) => new EventsFakeBackend("fakeevents", options),
});
export const fakes: readonly AnyAdapter[] = [redis, postgres, sqlite, file, nats, memory, events];

export type Loose = Omit<LoadOptions, "config"> & { readonly config?: Readonly<Record<string, unknown>> | undefined };
export interface Loaded {
  readonly taskQueue: FakeBackend;
  readonly resultStorage?: FakeBackend | false;
  readonly eventStorage?: FakeBackend | false;
  readonly scheduleStorage?: FakeBackend | false;
  readonly [setting: string]: unknown;
}
/** Resolves with the fakes and without the process's environment; `config` may be wrong on purpose. */
export async function load(options: Loose): Promise<Loaded> {
  return (await resolveConfiguration({
    adapters: fakes,
    environment: false,
    ...options,
  } as LoadOptions)) as unknown as Loaded;
}
/** The error's code and message. */
export async function failure(options: Loose): Promise<{ readonly code: string; readonly message: string }> {
  try {
    await load(options);
  } catch (error) {
    if (isOmniQError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("The configuration was accepted");
}
