// The options of the NATS adapter: what they are, how they are checked, how they are read from a URL.
import { OmniQError } from "@omniq/core";
import type { NatsConnection } from "@nats-io/transport-node";

/** TLS of a connection; the files are read by the client. */
export interface NatsTlsOptions {
  readonly certFile?: string | undefined;
  readonly cert?: string | undefined;
  readonly caFile?: string | undefined;
  readonly ca?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly key?: string | undefined;
  /** The server is set to begin with the handshake. */
  readonly handshakeFirst?: boolean | undefined;
}

/** Options of {@link nats}. All have defaults. */
export interface NatsOptions {
  /** `nats://host:port` or `host:port`. Several are those of one cluster. Default `nats://127.0.0.1:4222`. */
  readonly servers?: readonly string[] | string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** The path of a `.creds` file. */
  readonly credentials?: string | undefined;
  /** `true` asks for TLS with the system's authorities. */
  readonly tls?: boolean | NatsTlsOptions | undefined;
  /** Beginning of the names of streams and subjects: 1 to 40 letters, digits, underscores and hyphens. Default `omniq`. */
  readonly prefix?: string | undefined;
  /**
   * Beginning of the subjects on which answers come. With one of its own, and rights to match, nobody else of the account hears or forges them. Default
   * `_INBOX`.
   */
  readonly inboxPrefix?: string | undefined;
  /** How many servers of the cluster keep each stream: 1 to 5. Counts when a stream is made. Default 1. */
  readonly replicas?: number | undefined;
  /**
   * Which queues share a log: `{ mail: ["newsletters", "receipts"] }`. A worker replays only the logs of its queues. Queues that are not listed are
   * in the partition `default`. All processes of a prefix must have the same. Names: 1 to 40 letters, digits, underscores and hyphens.
   */
  readonly partitions?: Readonly<Record<string, readonly string[]>> | undefined;
  /** Your own connection, in place of servers and credentials. It is never closed. */
  readonly connection?: NatsConnection | undefined;
  /** How long events are kept, counted from their time. The first process of a log decides. Default 604,800,000 (7 days). */
  readonly eventTtlMs?: number | undefined;
  /** A checkpoint is taken after so many bytes of log (or as many as the last checkpoint has). Default 8,388,608. */
  readonly checkpointBytes?: number | undefined;
  /** How long a call waits for a server that is away before it rejects with `OMNIQ_BACKEND_UNAVAILABLE`. Default 15,000. */
  readonly giveUpMs?: number | undefined;
  /**
   * Whether the process is warned once (`OMNIQ_NATS_DURABILITY`) when a power cut, or less, may take what the server had acknowledged. Default
   * true.
   */
  readonly durabilityWarning?: boolean | undefined;
}

/** Options after the checks, with defaults filled in. */
export interface CheckedOptions {
  readonly given: NatsOptions;
  readonly servers: readonly string[];
  readonly prefix: string;
  readonly replicas: number;
  readonly partitions: Readonly<Record<string, readonly string[]>>;
  readonly eventTtlMs: number;
  readonly checkpointBytes: number;
  readonly giveUpMs: number;
  readonly durabilityWarning: boolean;
}

const namePattern = /^[A-Za-z0-9_-]{1,40}$/;
const inboxPattern = /^[A-Za-z0-9_-]{1,60}(\.[A-Za-z0-9_-]{1,60}){0,4}$/;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: NatsOptions): CheckedOptions {
  if (typeof options !== "object" || options === null)
    throw invalid('the options must be an object such as { servers: ["nats://localhost:4222"] }');
  const { servers = "nats://127.0.0.1:4222", prefix = "omniq", replicas = 1 } = options;
  const { eventTtlMs = 604_800_000, checkpointBytes = 8_388_608, giveUpMs = 15_000 } = options;
  const { durabilityWarning = true } = options;
  const list = typeof servers === "string" ? [servers] : servers;
  if (!Array.isArray(list) || list.length === 0 || !list.every((server) => typeof server === "string" && server !== ""))
    throw invalid('servers must be addresses such as ["nats://localhost:4222"]');
  for (const server of list as readonly string[]) checkAddress(server);
  for (const name of ["username", "password", "token", "credentials"] as const) {
    const value = options[name];
    if (value !== undefined && (typeof value !== "string" || value === ""))
      throw invalid(`${name} must be a string that is not empty`);
  }
  if (options.password !== undefined && options.username === undefined) throw invalid("password needs username");
  const ways = [options.username, options.token, options.credentials].filter((way) => way !== undefined);
  if (ways.length > 1) throw invalid("username, token and credentials exclude each other: give one of them");
  const { connection, tls } = options;
  if (connection !== undefined) {
    if (typeof connection !== "object" || connection === null || typeof connection.request !== "function")
      throw invalid("connection must be an open connection of @nats-io/transport-node");
    if (ways.length > 0 || options.servers !== undefined || tls !== undefined || options.inboxPrefix !== undefined)
      throw invalid("connection excludes servers, credentials, tls and inboxPrefix: the connection has its own");
  }
  if (tls !== undefined && typeof tls !== "boolean" && (typeof tls !== "object" || tls === null))
    throw invalid("tls must be true, false or an object such as { caFile }");
  if (typeof prefix !== "string" || !namePattern.test(prefix))
    throw invalid("prefix must be 1 to 40 letters, digits, underscores and hyphens");
  const { inboxPrefix } = options;
  if (inboxPrefix !== undefined && (typeof inboxPrefix !== "string" || !inboxPattern.test(inboxPrefix)))
    throw invalid("inboxPrefix must be letters, digits, underscores and hyphens, in parts divided by dots");
  if (!Number.isSafeInteger(replicas) || replicas < 1 || replicas > 5) throw invalid("replicas must be 1 to 5");
  for (const [name, value] of Object.entries({ eventTtlMs, checkpointBytes, giveUpMs }))
    if (!Number.isSafeInteger(value) || value < 1) throw invalid(`${name} must be a whole number of at least 1`);
  if (typeof durabilityWarning !== "boolean") throw invalid("durabilityWarning must be true or false");
  const partitions = checkPartitions(options.partitions ?? {});
  return {
    given: options,
    servers: list as readonly string[],
    prefix,
    replicas,
    partitions,
    eventTtlMs,
    checkpointBytes,
    giveUpMs,
    durabilityWarning,
  };
}

/** Addresses are not quoted in errors, as one may hold a password. */
function checkAddress(server: string): void {
  const text = server.includes("://") ? server : `nats://${server}`;
  const address = URL.canParse(text) ? new URL(text) : undefined;
  if (address === undefined || !["nats:", "tls:"].includes(address.protocol) || address.hostname === "")
    throw invalid("an address in servers is not host:port, nats://host:port or tls://host:port");
  if (address.username !== "" || address.password !== "")
    throw invalid("an address in servers has credentials in it: give them as username and password, or as token");
}

/** A server keeps at most 4,096 bytes of a stream's description, where the partitions are noted. */
const partitionsBytes = 4_000;

function checkPartitions(partitions: unknown): Readonly<Record<string, readonly string[]>> {
  const example = 'partitions must be lists of queues by name, such as { mail: ["newsletters", "receipts"] }';
  if (typeof partitions !== "object" || partitions === null || Array.isArray(partitions)) throw invalid(example);
  const homes = new Map<string, string>();
  for (const [name, queues] of Object.entries(partitions)) {
    if (!namePattern.test(name))
      throw invalid("names of partitions must be 1 to 40 letters, digits, underscores and hyphens");
    if (!Array.isArray(queues) || !queues.every((queue) => typeof queue === "string" && queue !== ""))
      throw invalid(example);
    for (const queue of queues as readonly string[]) {
      if (homes.has(queue)) throw invalid(`partitions lists the queue ${JSON.stringify(queue)} twice`);
      homes.set(queue, name);
    }
  }
  if (Buffer.byteLength(JSON.stringify(partitions)) > partitionsBytes)
    throw invalid(`partitions is longer than ${partitionsBytes} bytes of JSON; leave queues to the partition default`);
  return partitions as Readonly<Record<string, readonly string[]>>;
}

/** `nats://user:password@host:4222,other:4222?prefix=…&replicas=…`; `tls://` asks for TLS. */
export function fromUrl(url: string): NatsOptions {
  const match =
    /^(?<scheme>[a-z]+):\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^/?#]*)\/?(?:\?(?<query>[^#]*))?$/i.exec(
      url,
    );
  const { scheme = "", user, password, hosts = "", query = "" } = match?.groups ?? {};
  if (match === null || hosts === "") throw invalid("the URL must be nats://host:port, with hosts joined by commas");
  const options: { -readonly [K in keyof NatsOptions]: NatsOptions[K] } = {
    servers: hosts.split(",").map((host) => `nats://${host}`),
  };
  try {
    if (user !== undefined && password !== undefined) {
      options.username = decodeURIComponent(user);
      options.password = decodeURIComponent(password);
    } else if (user !== undefined) options.token = decodeURIComponent(user);
  } catch {
    throw invalid("the URL has a broken % sequence");
  }
  if (scheme.toLowerCase() === "tls") options.tls = true;
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === "prefix") options.prefix = value;
    else if (key === "inboxPrefix" || key === "inbox_prefix") options.inboxPrefix = value;
    else if (key === "replicas") options.replicas = Number(value);
    else if (key === "eventTtlMs" || key === "event_ttl_ms") options.eventTtlMs = Number(value);
    else
      throw invalid(
        `the URL has an unknown parameter "${key}"; known are prefix, inboxPrefix, replicas and eventTtlMs`,
      );
  }
  return options;
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the NATS backend can't be used: ${what}`);
}
