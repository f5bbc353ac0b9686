// The options of the Redis adapter: what they are, how they are checked, how they are read from a URL.
import { OmniQError } from "@omniq/core";

/** What is needed of a user's own client: an ioredis `Redis` or `Cluster` fits. */
export interface RedisClientLike {
  readonly status: string;
  readonly options?: object | undefined;
  evalsha(...args: any[]): Promise<unknown>;
  eval(...args: any[]): Promise<unknown>;
  duplicate(...args: any[]): any;
  on(event: string, listener: (...args: any[]) => void): unknown;
}

/** Options of {@link redis}. All have defaults: `redis({})` is `redis://localhost:6379`. */
export interface RedisOptions {
  /** `redis://user:password@host:6379/0`, `rediss://…` for TLS. What is given beside it wins over what it says. */
  readonly url?: string | undefined;
  /** Default `localhost`. */
  readonly host?: string | undefined;
  /** Default 6379. */
  readonly port?: number | undefined;
  /** The number of the database, default 0. A cluster has only 0. */
  readonly db?: number | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** `true`, or in code the options of Node's `tls.connect`. */
  readonly tls?: boolean | object | undefined;
  /** Addresses of Sentinels, `host:port` each; `name` says which master. */
  readonly sentinels?: readonly string[] | undefined;
  /** The master's name at the Sentinels. Default `mymaster`. */
  readonly name?: string | undefined;
  /** Addresses of some nodes of a cluster, `host:port` each. One prefix lives on one shard. */
  readonly cluster?: readonly string[] | undefined;
  /** What all keys begin with, as `{prefix}:`; 1 to 100 characters without braces. Default `omniq`. */
  readonly prefix?: string | undefined;
  /** Your own ioredis client. It is never closed; connections that wait are duplicates of it. */
  readonly client?: RedisClientLike | undefined;
  /** So many replicas must have a write before it is acknowledged (`WAIT`). Default 0. Not with a cluster. */
  readonly waitReplicas?: number | undefined;
  /** How long events are kept, counted from their time. Default 604,800,000 (7 days). */
  readonly eventTtlMs?: number | undefined;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Options after the checks, with defaults filled in. */
export interface CheckedOptions {
  readonly host: string;
  readonly port: number;
  readonly db: number;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly tls: object | undefined;
  readonly sentinels: readonly Address[] | undefined;
  readonly name: string;
  readonly cluster: readonly Address[] | undefined;
  readonly prefix: string;
  readonly client: RedisClientLike | undefined;
  readonly waitReplicas: number;
  readonly eventTtlMs: number;
}

const defaultEventTtlMs = 7 * 24 * 3_600_000;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(given: RedisOptions): CheckedOptions {
  if (typeof given !== "object" || given === null)
    throw invalid('the options must be an object such as { host: "localhost" }');
  const fromThere = given.url === undefined ? {} : fromUrl(given.url);
  const own = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  const options: RedisOptions = { ...fromThere, ...own };
  const { host = "localhost", username, password, name = "mymaster", client } = options;
  for (const [key, value] of Object.entries({ host, username, password, name })) {
    if (value !== undefined && (typeof value !== "string" || (value === "" && key !== "password")))
      throw invalid(`${key} must be a string that is not empty`);
  }
  const integer = (key: string, value: unknown, minimum: number, maximum: number): number => {
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < minimum || value > maximum)
      throw invalid(`${key} must be a whole number of ${minimum} to ${maximum}`);
    return value;
  };
  const { tls, prefix = "omniq" } = options;
  if (tls !== undefined && typeof tls !== "boolean" && (typeof tls !== "object" || tls === null))
    throw invalid("tls must be true, false, or the options of a TLS connection");
  if (typeof prefix !== "string" || !/^[^{}\0]{1,100}$/u.test(prefix))
    throw invalid("prefix must be 1 to 100 characters without braces");
  const sentinels = addresses("sentinels", options.sentinels, 26_379);
  const cluster = addresses("cluster", options.cluster, 6_379);
  if (sentinels !== undefined && cluster !== undefined)
    throw invalid("sentinels and cluster exclude each other: give one of them");
  const db = integer("db", options.db ?? 0, 0, 1_000_000);
  if (cluster !== undefined && db !== 0) throw invalid("db must be 0 in a cluster");
  const waitReplicas = integer("waitReplicas", options.waitReplicas ?? 0, 0, 100);
  const ofCluster = cluster !== undefined || (client as { isCluster?: boolean } | undefined)?.isCluster === true;
  if (waitReplicas > 0 && ofCluster)
    throw invalid("waitReplicas can't be used with a cluster; set min-replicas-to-write on its nodes");
  if (client !== undefined) checkClient(client);
  return {
    host,
    port: integer("port", options.port ?? 6_379, 1, 65_535),
    db,
    username,
    password,
    tls: tls === true ? {} : tls === false ? undefined : tls,
    sentinels,
    name,
    cluster,
    prefix,
    client,
    waitReplicas,
    eventTtlMs: integer("eventTtlMs", options.eventTtlMs ?? defaultEventTtlMs, 1, Number.MAX_SAFE_INTEGER),
  };
}

function checkClient(client: RedisClientLike): void {
  if (typeof client !== "object" || client === null || typeof client.evalsha !== "function")
    throw invalid("client must be an ioredis Redis or Cluster");
  const { options } = client as { options?: { keyPrefix?: unknown; redisOptions?: { keyPrefix?: unknown } } };
  if (options?.keyPrefix || options?.redisOptions?.keyPrefix)
    throw invalid("client must have no keyPrefix of its own; use the option prefix");
}

function addresses(key: string, value: unknown, port: number): readonly Address[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length === 0) throw invalid(`${key} must be a list of "host:port"`);
  return value.map((each: unknown) => {
    const match =
      typeof each === "string" ? /^(?:[a-z]+:\/\/)?(\[[^\]]+\]|[^:/]+)(?::(\d{1,5}))?\/?$/i.exec(each) : null;
    if (match === null) throw invalid(`${key} must be a list of "host:port"`);
    return { host: (match[1] as string).replace(/^\[|\]$/g, ""), port: Number(match[2] ?? port) };
  });
}

/** `redis://user:password@host:port/db?prefix=…&waitReplicas=…&eventTtlMs=…`; `rediss://` is TLS; `valkey://` is `redis://`. */
export function fromUrl(text: string): RedisOptions {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw invalid("the URL must be redis://user:password@host:port/db");
  }
  if (!/^(?:rediss?|valkeys?):$/.test(url.protocol))
    throw invalid("the URL must begin with redis://, rediss:// or valkey://");
  const options: Record<string, unknown> = {};
  let database: string;
  try {
    if (url.hostname !== "") options["host"] = decodeURIComponent(url.hostname).replace(/^\[|\]$/g, "");
    if (url.username !== "") options["username"] = decodeURIComponent(url.username);
    if (url.password !== "") options["password"] = decodeURIComponent(url.password);
    database = decodeURIComponent(url.pathname.slice(1));
  } catch {
    throw invalid("the URL has a broken % sequence");
  }
  if (url.port !== "") options["port"] = Number(url.port);
  if (url.protocol === "rediss:" || url.protocol === "valkeys:") options["tls"] = true;
  if (database !== "") {
    if (!/^\d+$/.test(database)) throw invalid("the URL's path must be the number of the database");
    options["db"] = Number(database);
  }
  for (const [key, value] of url.searchParams) {
    if (key === "prefix" || key === "name") options[key] = value;
    else if (key === "waitReplicas" || key === "wait_replicas") options["waitReplicas"] = Number(value);
    else if (key === "eventTtlMs" || key === "event_ttl_ms") options["eventTtlMs"] = Number(value);
    else if (key === "db") options["db"] = Number(value);
    else
      throw invalid(
        `the URL has an unknown parameter "${key}"; known are db, prefix, name, waitReplicas and eventTtlMs`,
      );
  }
  return options as RedisOptions;
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the Redis backend can't be used: ${what}`);
}
