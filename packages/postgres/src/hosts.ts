// The servers that a backend may use: one, or several of which one takes writes at a time. Makes connections to the one that is current.
import { OmniQError } from "@omniq/core";
import pg from "pg";

/** What a server must be like: whoever answers, one that takes writes, or one that is no standby. As `target_session_attrs` of libpq. */
export type SessionKind = "any" | "read-write" | "primary";
const kinds: readonly SessionKind[] = ["any", "read-write", "primary"];

/** How long one of several servers is waited for before the next is tried. */
const nextHostMs = 3_000;

export interface Hosts {
  /** What `pg` takes for each server, in the order given. */
  readonly configs: readonly Readonly<Record<string, unknown>>[];
  readonly session: SessionKind;
}

const invalid = (what: string): OmniQError =>
  new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the PostgreSQL backend can't be used: ${what}`);

/** Cuts `postgresql://user:password@host1:5432,host2:5432/database?target_session_attrs=read-write` into one DSN for each server. */
export function splitDsn(dsn: string): {
  readonly servers: readonly { readonly connectionString: string }[];
  readonly session: SessionKind;
  readonly names: string;
} {
  const [, scheme = "", login = "", hosts = "", path = "", query = ""] =
    /^([a-z]+:\/\/)((?:[^@/?#]*@)?)([^/?#]*)([^?#]*)(?:\?([^#]*))?/i.exec(dsn) ?? [];
  const parameters = new URLSearchParams(query);
  const list = hosts.split(",");
  const wanted = parameters.get("target_session_attrs") ?? (list.length > 1 ? "read-write" : "any");
  if (!(kinds as readonly string[]).includes(wanted))
    throw invalid(`target_session_attrs must be ${kinds.join(", ")}; a backend writes`);
  parameters.delete("target_session_attrs");
  const rest = parameters.size === 0 ? "" : `?${parameters.toString()}`;
  for (const host of list) {
    if (list.length > 1 && host === "") throw invalid("a host of the dsn is empty");
    if (/:(?!\d{1,5}$)[^\]]*$/u.test(host)) throw invalid("a port of the dsn is no number");
  }
  return {
    servers: list.map((host) => ({ connectionString: `${scheme}${login}${host}${path}${rest}` })),
    session: wanted as SessionKind,
    names: hosts,
  };
}

/** One of several servers that answers, but is not what was asked for. Its code is that of a server that is away. */
class UnfitError extends Error {
  readonly code = "ECONNREFUSED";
}

export class Servers {
  readonly #hosts: Hosts;
  readonly #made = new Set<pg.Client>();
  #current = 0;

  constructor(hosts: Hosts) {
    this.#hosts = hosts;
  }

  get count(): number {
    return this.#hosts.configs.length;
  }

  /** The number of the server that connections are made to. */
  get current(): number {
    return this.#current;
  }

  /** All connections that have not ended. */
  get made(): ReadonlySet<pg.Client> {
    return this.#made;
  }

  /** Resolves when all of them have ended. */
  async ended(): Promise<void> {
    await Promise.all(
      [...this.#made].map((client) => new Promise<void>((resolve) => client.once("end", () => resolve()))),
    );
  }

  /** Goes on to the next server, unless somebody has done so since. */
  leave(server: number): void {
    if (this.#current === server) this.#current = (server + 1) % this.count;
  }

  /** A client of the current server, not connected yet. */
  client(given: Readonly<Record<string, unknown>>): pg.Client {
    const timeout = Number(given["connectionTimeoutMillis"]);
    const client = new pg.Client({
      application_name: "omniq",
      ...this.#hosts.configs[this.#current],
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      ...given,
      ...(this.count > 1 ? { connectionTimeoutMillis: Math.min(timeout, nextHostMs) } : {}),
    } as pg.ClientConfig);
    this.#made.add(client);
    client.once("end", () => this.#made.delete(client));
    // A connection that ends is told by its answer; without a listener it would end the process.
    client.on("error", () => this.#made.delete(client));
    return client;
  }

  /** Rejects for a server that is not what was asked for. */
  async verify(client: pg.Client): Promise<void> {
    const { session } = this.#hosts;
    if (session === "any") return;
    const { rows } = await client.query<[string]>({
      text:
        session === "primary"
          ? "SELECT pg_catalog.pg_is_in_recovery()::pg_catalog.text"
          : "SELECT pg_catalog.current_setting('transaction_read_only')",
      rowMode: "array",
    });
    const [answer] = rows[0] ?? [];
    if (answer === "true" || answer === "on") throw new UnfitError("The server does not take writes");
  }

  /** Ends all connections at once, whatever they wait for. */
  destroy(): void {
    for (const client of this.#made) cut(client);
    this.#made.clear();
  }
}

/** Ends a connection without a word: the other side may not be there to hear one. */
export function cut(client: unknown): void {
  (
    client as { readonly connection?: { readonly stream?: { destroy?: () => void } } } | undefined
  )?.connection?.stream?.destroy?.();
}
