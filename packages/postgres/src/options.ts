// The options of the PostgreSQL adapter: what they are, how they are checked, how they are read from a URL.
import { OmniQError } from "@omniq/core";
import { splitDsn, type Hosts, type SessionKind } from "./hosts.ts";

/** What is needed of a user's client or transaction: a `pg` client fits, and so does `{ query: (text, values) => … }` around any other. */
export interface PostgresClientLike {
  query(text: string, values: unknown[]): PromiseLike<{ readonly rows: readonly any[] }>;
}

/** What is needed of a user's own pool: a `pg.Pool` fits. */
export interface PostgresPoolLike {
  connect(): Promise<PostgresPoolClientLike>;
}
/** A client that is given back. */
export interface PostgresPoolClientLike {
  query(config: any): Promise<any>;
  release(error?: Error | boolean): void;
  on?(event: "error", listener: () => void): unknown;
  off?(event: "error", listener: () => void): unknown;
}

/** Options of {@link postgres}. All have defaults; `dsn`, the single values, and `pool` exclude each other. */
export interface PostgresOptions {
  /**
   * `postgresql://user:password@host:5432/database`, with the parameters that `pg` knows (`sslmode`, …). Several servers are written as libpq does:
   * `postgresql://user:password@one:5432,two:5432/database?target_session_attrs=read-write` (`read-write`, `primary` or `any`; default of several
   * servers `read-write`). The one that fits is used, and another when it goes or takes no writes any more.
   */
  readonly dsn?: string | undefined;
  /** Default `localhost`. A folder is that of a Unix socket. */
  readonly host?: string | undefined;
  /** Default 5432. */
  readonly port?: number | undefined;
  /** Default: the name of the user. */
  readonly database?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** `true`, or what Node's `tls.connect` takes (`{ ca, rejectUnauthorized, … }`). Default: none, or as the `dsn` says. */
  readonly tls?: boolean | Readonly<Record<string, unknown>> | undefined;
  /** The schema that holds the tables, at most 63 bytes; made where it is missing. Default `omniq`. */
  readonly schema?: string | undefined;
  /** Connections beside the one that listens. Default 10. */
  readonly maxConnections?: number | undefined;
  /** Your own `pg.Pool`. It is never closed. Heartbeats then come from the main thread. */
  readonly pool?: PostgresPoolLike | undefined;
  /** `false` for PgBouncer in transaction mode: no LISTEN and no prepared statements; what waits polls. Default `true`. */
  readonly listen?: boolean | undefined;
  /** `false`: the tables are not made or changed at run time; call {@link migrate} with the rights to. Default `true`. */
  readonly migrate?: boolean | undefined;
  /** How long events are kept, counted from their time. Default 604,800,000 (7 days). */
  readonly eventTtlMs?: number | undefined;
}

/** Options after the checks, with defaults filled in. */
export interface CheckedOptions {
  /** What `pg` takes for each server; `undefined` with a pool of the user's. */
  readonly hosts: Hosts | undefined;
  /** The server's name for messages; no password. */
  readonly server: string;
  readonly pool: PostgresPoolLike | undefined;
  readonly schema: string;
  readonly maxConnections: number;
  readonly listen: boolean;
  readonly migrate: boolean;
  readonly eventTtlMs: number;
  /** As given, for a thread that makes its own connection. */
  readonly given: PostgresOptions;
}

const defaultEventTtlMs = 7 * 24 * 3_600_000;
const maxSchemaBytes = 63;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: PostgresOptions): CheckedOptions {
  if (typeof options !== "object" || options === null) throw invalid("the options must be an object such as { dsn }");
  const { dsn, host, port, database, username, password, tls, pool, schema = "omniq" } = options;
  const { maxConnections = 10, listen = true, migrate = true, eventTtlMs = defaultEventTtlMs } = options;
  const single = { host, port, database, username, password };
  const named = Object.entries(single).find(([, value]) => value !== undefined)?.[0];
  if (dsn !== undefined && named !== undefined) throw invalid(`dsn and ${named} exclude each other: give one of them`);
  if (pool !== undefined && (dsn !== undefined || named !== undefined || tls !== undefined)) {
    throw invalid(`pool and ${dsn !== undefined ? "dsn" : (named ?? "tls")} exclude each other: give one of them`);
  }
  if (pool !== undefined && typeof pool?.connect !== "function") throw invalid("pool must be a pg.Pool");
  for (const [name, value] of Object.entries({ dsn, host, database, username, password })) {
    if (value !== undefined && (typeof value !== "string" || (value === "" && name !== "password")))
      throw invalid(`${name} must be a string that is not empty`);
  }
  if (dsn !== undefined && !/^postgres(ql)?:\/\//i.test(dsn))
    throw invalid("dsn must begin with postgresql:// or postgres://");
  if (port !== undefined && (!Number.isSafeInteger(port) || port < 1 || port > 65_535))
    throw invalid("port must be a whole number from 1 to 65535");
  if (tls !== undefined && typeof tls !== "boolean" && (typeof tls !== "object" || tls === null))
    throw invalid("tls must be true, false or an object of TLS options");
  if (
    typeof schema !== "string" ||
    schema === "" ||
    Buffer.byteLength(schema) > maxSchemaBytes ||
    schema.includes("\0")
  )
    throw invalid(`schema must be a name of 1 to ${maxSchemaBytes} bytes`);
  // The functions' texts are quoted with dollars.
  if (schema.includes("$")) throw invalid("schema must not contain $");
  if (/^pg_|^information_schema$/i.test(schema)) throw invalid("schema must not be one of PostgreSQL's own");
  if (!Number.isSafeInteger(maxConnections) || maxConnections < 1)
    throw invalid("maxConnections must be a whole number of at least 1");
  if (typeof listen !== "boolean") throw invalid("listen must be true or false");
  if (typeof migrate !== "boolean") throw invalid("migrate must be true or false");
  if (!Number.isSafeInteger(eventTtlMs) || eventTtlMs < 1)
    throw invalid("eventTtlMs must be a whole number of at least 1");
  const given =
    dsn === undefined
      ? { servers: [{ host: host ?? "localhost", port: port ?? 5432, database, user: username, password }] }
      : splitDsn(dsn);
  const hosts = {
    configs: given.servers.map((one) => defined({ ...one, ssl: tls })),
    session: ("session" in given ? given.session : "any") as SessionKind,
  };
  const names = "names" in given ? given.names || "the default host" : `${host ?? "localhost"}:${port ?? 5432}`;
  const server = pool !== undefined ? "the given pool" : `PostgreSQL at ${names}`;
  return {
    hosts: pool === undefined ? hosts : undefined,
    server,
    pool,
    schema,
    maxConnections,
    listen,
    migrate,
    eventTtlMs,
    given: options,
  };
}

/** `postgresql://user:password@host:port/database`, and `schema`, `maxConnections`, `listen`, `migrate`, `eventTtlMs` as parameters. */
export function fromUrl(url: string): PostgresOptions {
  // Not by `URL`, which knows no lists of hosts.
  const [, base, query = ""] = /^(postgres(?:ql)?:\/\/[^?#]*)(?:\?([^#]*))?/i.exec(url) ?? [];
  if (base === undefined) throw invalid("the URL must be postgresql://user:password@host:port/database");
  const options: Record<string, unknown> = {};
  const parameters = new URLSearchParams(query);
  for (const [key, value] of [...parameters]) {
    const name = key.replace(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase());
    if (name === "schema") options["schema"] = value;
    else if (name === "maxConnections" || name === "eventTtlMs") options[name] = Number(value);
    else if (name === "listen" || name === "migrate") options[name] = boolean(name, value);
    else continue;
    parameters.delete(key);
  }
  options["dsn"] = parameters.size === 0 ? base : `${base}?${parameters.toString()}`;
  return options as PostgresOptions;
}

function boolean(name: string, value: string): boolean {
  if (value === "true" || value === "1") return true;
  if (value === "false" || value === "0") return false;
  throw invalid(`${name} in the URL must be true or false`);
}

function defined(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the PostgreSQL backend can't be used: ${what}`);
}
