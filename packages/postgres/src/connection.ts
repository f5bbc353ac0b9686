// The connections to the server: a pool that is opened at the first call, or the user's own; every statement goes through here.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { OmniQError, Reports } from "@omniq/core";
import pg from "pg";
import { failure, isAway, isConflict, isDamage, isUnsent } from "./failures.ts";
import { cut, Servers } from "./hosts.ts";
import { inSchema, prepare, qualified, type Run } from "./migrations.ts";
import type { CheckedOptions, PostgresPoolClientLike, PostgresPoolLike } from "./options.ts";
import { watched, type Watch } from "./watch.ts";
import { within } from "./within.ts";

const connectTimeoutMs = 10_000;
/** How often a transaction is run again that PostgreSQL undid in favour of another. */
const maxConflicts = 8;
/** How long closing waits for calls that are under way, and then for connections to end. */
const closeMs = { calls: 300, ends: 300 };

/** Whole numbers as numbers, truth as boolean, all else as text; whatever the user set for their own queries. */
export const types = {
  getTypeParser:
    (oid: number) =>
    (text: string): unknown =>
      oid === 20 || oid === 21 || oid === 23 ? Number(text) : oid === 16 ? text === "t" : text,
};

export const notifyText = "SELECT pg_notify($1, $2)::text";

/** The channel of a schema; names of channels have at most 63 bytes. */
function channelOf(schema: string): string {
  return `omniq_${createHash("sha256").update(schema).digest("hex").slice(0, 32)}`;
}

export type Row = readonly any[];

/** Without a name it is not kept by the connection. */
interface Statement {
  readonly text: string;
  readonly name?: string;
}

/** How a statement is run. */
interface How {
  /** Only looks, or does what may be done twice: without an answer nobody need wonder whether it took effect. */
  readonly harmless?: boolean | undefined;
  /** On this client, which is not the pool's. */
  readonly client?: pg.Client | undefined;
  /** Its transaction has ended once its row is there: what fails after that is no failure of it. */
  readonly committed?: boolean | undefined;
}

export class Connection {
  readonly options: CheckedOptions;
  /** The server, for messages. */
  readonly what: string;
  /** Where the schema's notifications go. */
  readonly channel: string;
  readonly reports: Reports = new Reports();
  /** Told when a connection was found to be dead, though nobody had said so: others may be, too. */
  onDead: () => void = () => {};
  /** Told of queues in which something may be ready after damage was mended. */
  onMended: (queues: readonly string[]) => void = () => {};
  readonly #servers: Servers | undefined;
  readonly #watch: Watch;
  readonly #texts = new Map<string, { readonly text: string; readonly name: string }>();
  readonly #stops = new Set<(reason: Error) => void>();
  readonly #busy = new Set<unknown>();
  #pool: PostgresPoolLike | undefined;
  #own: pg.Pool | undefined;
  #ready: Promise<void> | undefined;
  #closed = false;
  /** Calls that may have a connection now, and those that wait for that. */
  #places: number;
  readonly #queue: (() => void)[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: CheckedOptions) {
    this.options = options;
    this.what = options.server;
    this.channel = channelOf(options.schema);
    this.#places = options.pool === undefined ? options.maxConnections : Infinity;
    const { hosts, pool, listen } = options;
    // A pool of `pg` knows how its clients are made.
    const config = (pool as { options?: Readonly<Record<string, unknown>> } | undefined)?.options;
    const made = hosts ?? (config === undefined ? undefined : { configs: [config], session: "any" as const });
    this.#servers = made === undefined ? undefined : new Servers(made);
    this.#watch = {
      client: this.#servers === undefined ? undefined : (given) => (this.#servers as Servers).client(given),
      numbered: listen,
    };
  }

  /**
   * Runs one statement, a transaction of its own; gives its rows. What PostgreSQL undid in favour of others is run again, and so is, once, what
   * failed for a damaged task after that was set aside. Without an answer it rejects with `OMNIQ_OUTCOME_UNKNOWN`, if that matters.
   */
  query(text: string, values: readonly unknown[] = [], how: How = {}): Promise<readonly Row[]> {
    return this.#run(this.#statement(text), values, how);
  }

  /**
   * The same for what reads tables itself, not by a function of ours: it is planned each time, since a plan that a connection keeps may be
   * of when they were empty, and reads the whole of them later.
   */
  look(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#run({ text: this.#statement(text).text }, values, { harmless: true });
  }

  async #run(statement: Statement, values: readonly unknown[], how: How): Promise<readonly Row[]> {
    if (this.#closed) throw this.closedError();
    this.#running++;
    let mended = false;
    try {
      for (let conflicts = 0; ; conflicts++) {
        let sent = false;
        try {
          await this.#prepare();
          const { client } = how;
          if (client === undefined) return await this.#send(statement, values, how, () => (sent = true));
          sent = true;
          return await this.#watched(ask(client, { ...statement, values }), client);
        } catch (error) {
          if (isDamage(error) && !mended) {
            mended = true;
            if (await this.#mend()) continue;
          }
          if (!(isConflict(error) || isUnsent(error)) || conflicts >= maxConflicts)
            throw failure(error, this.what, this.options.schema, sent && how.harmless !== true);
          await sleep(Math.random() * 10 * (conflicts + 1));
        }
      }
    } finally {
      this.#ended();
    }
  }

  #ended(): void {
    this.#running--;
    if (this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Sets aside what makes statements fail. Says whether there was anything. */
  async #mend(): Promise<boolean> {
    const { text } = this.#statement(
      "SELECT to_json(gone)::text, to_json(wake)::text, to_json(queues)::text FROM {s}.mend()",
    );
    const [row] = await this.#send({ text }, [], {}, () => {}).catch((): Row[] => []);
    const [gone, wake, queues] = [readList(row?.[0]), readList(row?.[1]), readList(row?.[2])];
    this.setAside(gone, [...wake, ...queues]);
    for (const queue of queues)
      this.reports.send("error", "Limits of a queue could not be read; they were taken away", { queue });
    return gone.length > 0 || queues.length > 0;
  }

  /** Tells of tasks that cannot be read, and wakes who waits for what they held back. */
  setAside(taskIds: readonly string[], wake: readonly string[]): void {
    for (const taskId of taskIds)
      this.reports.send("error", "A stored task cannot be read; it is a dead letter now", {
        taskId,
        code: "OMNIQ_ITEM_DAMAGED",
      });
    if (wake.length > 0) this.onMended(wake);
  }

  /** A statement's text in this schema, for a client of the user's. */
  textOf(text: string): string {
    return this.#statement(text).text;
  }

  /** Makes the tables or checks them, once. */
  async ready(): Promise<void> {
    try {
      await this.#prepare();
    } catch (error) {
      throw failure(error, this.what, this.options.schema, false);
    }
  }

  /** A client beside the pool, to listen on; `undefined` where none can be made. It takes no writes unless {@link verify} resolves. */
  listener(): pg.Client | undefined {
    if (!this.options.listen) return undefined;
    return this.#watch.client?.({ connectionTimeoutMillis: connectTimeoutMs });
  }

  /** Rejects for a server that is not the one of several that writes go to. */
  async verify(client: pg.Client): Promise<void> {
    await this.#servers?.verify(client);
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend on ${this.what} is closed; make a new one`);
  }

  /** Waits a moment for what is under way and lets go of the connections; they are opened again if needed, unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    if (forEver) this.#closed = true;
    if (this.#running > 0) await within(new Promise<void>((resolve) => this.#idle.push(resolve)), closeMs.calls);
    for (const stop of this.#stops) stop(new Error("connection ended: the backend was closed"));
    const own = this.#own;
    this.#own = undefined;
    this.#pool = undefined;
    await within(own?.end(), closeMs.ends);
    // A server that is away may never say that a connection has ended.
    await within(this.#servers?.ended(), closeMs.ends);
    this.#servers?.destroy();
  }

  #statement(text: string): { readonly text: string; readonly name: string } {
    let made = this.#texts.get(text);
    if (made === undefined) {
      made = {
        text: inSchema(qualified(text), this.options.schema),
        name: `omniq_${hash(this.options.schema + text)}`,
      };
      this.#texts.set(text, made);
    }
    return made;
  }

  #prepare(): Promise<void> {
    const { schema, migrate } = this.options;
    return (this.#ready ??= this.#withClient((run) => prepare(run, schema, this.what, migrate)).catch(
      (error: unknown) => {
        this.#ready = undefined;
        throw error;
      },
    ));
  }

  #send(statement: Statement, values: readonly unknown[], how: How, sent: () => void): Promise<readonly Row[]> {
    const name = this.options.listen ? statement.name : undefined;
    const query = { text: statement.text, values, name };
    return this.#inTurn((client) => {
      sent();
      return how.committed === true && this.#own !== undefined ? askCommitted(client, query) : ask(client, query);
    });
  }

  #withClient<T>(work: (run: Run) => Promise<T>): Promise<T> {
    return this.#inTurn((client) => work((text, values) => ask(client, { text, values })));
  }

  /** Calls wait here for a connection, not in the pool: that one counts the wait for its turn as a server that does not answer. */
  async #inTurn<T>(work: (client: PostgresPoolClientLike) => Promise<T>): Promise<T> {
    if (this.#places > 0) this.#places--;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      const client = await this.#connect();
      return await this.#use(client, () => work(client));
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#places++;
      else next();
    }
  }

  async #use<T>(client: PostgresPoolClientLike, work: () => Promise<T>): Promise<T> {
    // A connection that ends is told to the call by its answer, and a second time here; without a listener it would end the process.
    client.on?.("error", ignore);
    this.#busy.add(client);
    try {
      const answer = await this.#watched(work(), client);
      client.off?.("error", ignore);
      client.release(false);
      return answer;
    } catch (error) {
      // A connection that failed or still waits must not be used again. Its errors are still to come.
      const away = isAway(error);
      if (!away) client.off?.("error", ignore);
      client.release(away);
      if (away) cut(client);
      throw error;
    } finally {
      this.#busy.delete(client);
    }
  }

  async #watched<T>(answer: Promise<T>, client: unknown): Promise<T> {
    return watched(answer, client, this.#watch, this.#stops, () => {
      // What is idle went the same way, most likely, and would have to be found out one by one.
      if (this.#own !== undefined) for (const one of this.#servers?.made ?? []) if (!this.#busy.has(one)) cut(one);
      this.onDead();
    });
  }

  async #connect(): Promise<PostgresPoolClientLike> {
    if (this.#closed) throw this.closedError();
    const servers = this.#servers;
    for (let left = servers?.count ?? 1; ; left--) {
      const server = servers?.current ?? 0;
      try {
        return await this.#openPool().connect();
      } catch (error) {
        if (left <= 1 || servers === undefined || this.#closed || !isAway(error)) throw error;
        servers.leave(server);
      }
    }
  }

  #openPool(): PostgresPoolLike {
    const { pool, maxConnections } = this.options;
    if (this.#pool !== undefined) return this.#pool;
    const servers = this.#servers;
    if (pool === undefined && servers !== undefined) {
      const given = { connectionTimeoutMillis: connectTimeoutMs };
      const config = {
        max: maxConnections,
        ...given,
        // The pool makes each of its clients by this, of the server that is current then.
        Client: function makeClient(): pg.Client {
          return servers.client(given);
        },
        onConnect: (client: pg.Client) => servers.verify(client),
      };
      this.#own = new pg.Pool(config as unknown as pg.PoolConfig);
      // A connection that ends while nobody uses it is made anew by the pool; without a listener it would end the process.
      this.#own.on("error", ignore);
    }
    return (this.#pool = pool ?? (this.#own as unknown as PostgresPoolLike));
  }
}

function ignore(): void {}

/** The list in a JSON text that the server made. */
export function readList(text: unknown): readonly string[] {
  return (typeof text === "string" ? (JSON.parse(text) as string[] | null) : null) ?? [];
}

interface Query {
  readonly text: string;
  readonly values?: readonly unknown[] | undefined;
  readonly name?: string | undefined;
}

async function ask(client: Pick<PostgresPoolClientLike, "query">, query: Query): Promise<readonly Row[]> {
  const answer = (await client.query({ ...query, rowMode: "array", types })) as { rows?: readonly Row[] };
  return answer.rows ?? [];
}

/** The same for a procedure that commits before it ends: once its row is there, an error is one of what came after. */
function askCommitted(client: Pick<PostgresPoolClientLike, "query">, query: Query): Promise<readonly Row[]> {
  return new Promise((resolve, reject) => {
    const rows: Row[] = [];
    const one = new pg.Query({ ...query, rowMode: "array", types } as unknown as pg.QueryArrayConfig);
    one.on("row", (row) => void rows.push(row as unknown as Row));
    one.on("end", () => resolve(rows));
    one.on("error", (error: unknown) => (rows.length > 0 ? resolve(rows) : reject(error as Error)));
    void client.query(one);
  });
}

/** FNV-1a in two halves: names of prepared statements, which must be equal for equal texts only. */
function hash(text: string): string {
  let one = 0x811c9dc5;
  let two = 0x01000193;
  for (let index = 0; index < text.length; index++) {
    one = Math.imul(one ^ text.charCodeAt(index), 0x01000193);
    two = Math.imul(two ^ text.charCodeAt(index), 0x5bd1e995);
  }
  return (one >>> 0).toString(36) + (two >>> 0).toString(36);
}
