// The connections to the server: a pool that is opened at the first call, or the user's own; every statement goes through here.
import { createHash } from "node:crypto";
import { OmniQError } from "@omniq/core";
import pg from "pg";
import { failure, isAway, isConflict } from "./failures.ts";
import { inSchema, prepare, type Run } from "./migrations.ts";
import type { CheckedOptions, PostgresPoolClientLike, PostgresPoolLike } from "./options.ts";

/** A call that has no answer after this time is given up, and its connection with it: the network may swallow what is sent. */
const answerTimeoutMs = 60_000;
const connectTimeoutMs = 10_000;
/** How often a transaction is run again that PostgreSQL undid in favour of another. */
const maxConflicts = 8;

/** Whole numbers as numbers, truth as boolean, all else as text; whatever the user set for their own queries. */
export const types = {
  getTypeParser:
    (oid: number) =>
    (text: string): unknown =>
      oid === 20 || oid === 21 || oid === 23 ? Number(text) : oid === 16 ? text === "t" : text,
};

export const notifyText = "SELECT pg_notify($1, $2)";

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

export class Connection {
  readonly options: CheckedOptions;
  /** The server, for messages. */
  readonly what: string;
  /** Where the schema's notifications go. */
  readonly channel: string;
  readonly #texts = new Map<string, { readonly text: string; readonly name: string }>();
  #pool: PostgresPoolLike | undefined;
  #own: pg.Pool | undefined;
  #ready: Promise<void> | undefined;
  #closed = false;
  #running = 0;
  #idle: (() => void)[] = [];

  constructor(options: CheckedOptions) {
    this.options = options;
    this.what = options.server;
    this.channel = channelOf(options.schema);
  }

  /**
   * Runs one statement, a transaction of its own; gives its rows. What PostgreSQL undid in favour of others is run again. `client`: on this
   * one, which is not the pool's.
   */
  query(text: string, values: readonly unknown[] = [], client?: pg.Client): Promise<readonly Row[]> {
    return this.#run(this.#statement(text), values, client);
  }

  /**
   * The same for what reads tables itself, not by a function of ours: it is planned each time, since a plan that a connection keeps may be
   * of when they were empty, and reads the whole of them later.
   */
  look(text: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    return this.#run({ text: this.#statement(text).text }, values);
  }

  async #run(statement: Statement, values: readonly unknown[], client?: pg.Client): Promise<readonly Row[]> {
    if (this.#closed) throw this.closedError();
    this.#running++;
    try {
      for (let conflicts = 0; ; conflicts++) {
        try {
          await this.#prepare();
          return await (client === undefined
            ? this.#send(statement, values)
            : inTime(ask(client, { ...statement, values })));
        } catch (error) {
          if (!isConflict(error) || conflicts >= maxConflicts) throw failure(error, this.what, this.options.schema);
          await new Promise((done) => setTimeout(done, Math.random() * 10 * (conflicts + 1)));
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

  /** A statement's text in this schema, for a client of the user's. */
  textOf(text: string): string {
    return this.#statement(text).text;
  }

  /** Makes the tables or checks them, once. */
  async ready(): Promise<void> {
    try {
      await this.#prepare();
    } catch (error) {
      throw failure(error, this.what, this.options.schema);
    }
  }

  /** A client beside the pool, to listen on; `undefined` where none can be made. */
  listener(): pg.Client | undefined {
    const { connection, pool, listen } = this.options;
    if (!listen) return undefined;
    // A pool of `pg` knows how its clients are made; to take one of them for good would starve a small pool.
    const config = connection ?? (pool as { options?: Readonly<Record<string, unknown>> }).options;
    if (config === undefined) return undefined;
    return new pg.Client({ ...config, keepAlive: true, connectionTimeoutMillis: connectTimeoutMs } as pg.ClientConfig);
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend on ${this.what} is closed; make a new one`);
  }

  /** Waits for what is under way and lets go of the connections; they are opened again if needed, unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    if (forEver) this.#closed = true;
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    const own = this.#own;
    this.#own = undefined;
    this.#pool = undefined;
    await own?.end();
  }

  #statement(text: string): { readonly text: string; readonly name: string } {
    let made = this.#texts.get(text);
    if (made === undefined) {
      made = { text: inSchema(text, this.options.schema), name: `omniq_${hash(this.options.schema + text)}` };
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

  async #send(statement: Statement, values: readonly unknown[]): Promise<readonly Row[]> {
    const name = this.options.listen ? statement.name : undefined;
    const client = await this.#connect();
    return this.#use(client, () => ask(client, { text: statement.text, values, name }));
  }

  async #withClient<T>(work: (run: Run) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    return this.#use(client, () => work((text, values) => ask(client, { text, values })));
  }

  async #use<T>(client: PostgresPoolClientLike, work: () => Promise<T>): Promise<T> {
    // A connection that ends is told to the call by its answer, and a second time here; without a listener it would end the process.
    client.on?.("error", ignore);
    try {
      const answer = await inTime(work());
      client.off?.("error", ignore);
      client.release(false);
      return answer;
    } catch (error) {
      // A connection that failed or still waits must not be used again. Its errors are still to come.
      const away = isAway(error);
      if (!away) client.off?.("error", ignore);
      client.release(away);
      throw error;
    }
  }

  #connect(): Promise<PostgresPoolClientLike> {
    if (this.#pool === undefined) {
      const { connection, pool, maxConnections } = this.options;
      if (pool === undefined) {
        this.#own = new pg.Pool({
          application_name: "omniq",
          ...connection,
          max: maxConnections,
          keepAlive: true,
          connectionTimeoutMillis: connectTimeoutMs,
        } as pg.PoolConfig);
        // A connection that ends while nobody uses it is made anew by the pool; without a listener it would end the process.
        this.#own.on("error", ignore);
        // And one that ends between being handed out and its first statement, which happens when a server crashes just then.
        this.#own.on("connect", (client) => client.on("error", ignore));
      }
      this.#pool = pool ?? (this.#own as unknown as PostgresPoolLike);
    }
    return this.#pool.connect();
  }
}

function ignore(): void {}

/** Rejects when the server says nothing for too long. */
async function inTime<T>(answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error("timeout: no answer from the server")), answerTimeoutMs);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function ask(
  client: Pick<PostgresPoolClientLike, "query">,
  query: {
    readonly text: string;
    readonly values?: readonly unknown[] | undefined;
    readonly name?: string | undefined;
  },
): Promise<readonly Row[]> {
  const answer = (await client.query({ ...query, rowMode: "array", types })) as { rows?: readonly Row[] };
  return answer.rows ?? [];
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
