// The connections of one backend: one for all verbs, others for what waits; scripts are run by their hash and loaded where they are unknown.
import { createHash } from "node:crypto";
import { Cluster, Redis, type RedisOptions as ClientOptions } from "ioredis";
import { OmniQError } from "@omniq/core";
import { argumentText, commandText, type Told } from "./direct-command.ts";
import type { Place } from "./inbox.ts";
import { isNoScript } from "./failures.ts";
import { Link, type Client } from "./link.ts";
import { sources, type ScriptName } from "./lua/index.ts";
import type { CheckedOptions } from "./options.ts";

/** The version of the layout that this package writes. */
export const layoutVersion = 1;
/** A connection on which commands are under way and that is silent for this long is dead. */
const silenceMs = 10_000;
/** How long `WAIT` waits for replicas. */
const replicasMs = 2_000;
/** Scripts that change nothing that a caller asked for. */
const reads: ReadonlySet<ScriptName> = new Set<ScriptName>([
  "get",
  "list",
  "counts",
  "unrecorded",
  "getResults",
  "waitResults",
  "listResults",
  "eventsOfTask",
  "getSchedules",
  "listSchedules",
  "dueSchedules",
  "open",
  "kind",
]);

export type ScriptArguments = readonly (string | number)[];

/** A blocking pop. */
export interface Pop {
  /** Of `BZPOPMIN`. */
  readonly args: ScriptArguments;
  /** It is on its way. */
  sent(): void;
}

const hashes = Object.fromEntries(
  Object.entries(sources).map(([name, source]) => [name, createHash("sha1").update(source).digest("hex")]),
) as Readonly<Record<ScriptName, string>>;

export class Connection {
  readonly options: CheckedOptions;
  /** What all keys begin with. The braces are a cluster's hash tag: all keys of a prefix are in one slot. */
  readonly prefix: string;
  readonly #heads: Partial<Record<ScriptName, string>> = {};
  /** How messages name the server. */
  readonly what: string;
  /**
   * The keys that every script names. The prefix alone is a key that never exists. A cluster's node that lacks all keys of a command while their
   * slot moves sends it to the next node, where it would see a part; with `m`, which always exists, beside it, it says TRYAGAIN.
   */
  readonly #keys: readonly string[];
  #main: Link | undefined;
  #replicating: Link | undefined;
  #opening: Promise<void> | undefined;
  #opened = false;
  #closed = false;
  readonly #others = new Set<Link>();

  constructor(options: CheckedOptions) {
    this.options = options;
    this.prefix = `{${options.prefix}}:`;
    const { client, sentinels, cluster, host, port, db, name } = options;
    const clustered = cluster !== undefined || (client as { isCluster?: boolean } | undefined)?.isCluster === true;
    this.#keys = clustered ? [this.prefix, `${this.prefix}m`] : [this.prefix];
    if (client !== undefined) this.what = "the Redis of the given client";
    else if (cluster !== undefined)
      this.what = `the Redis cluster of ${cluster.map((each) => `${each.host}:${each.port}`).join(", ")}`;
    else if (sentinels !== undefined) this.what = `the Redis master "${name}"`;
    else this.what = `Redis at ${host}:${port}/${db}`;
  }

  /** A key of this namespace. */
  key(name: string): string {
    return this.prefix + name;
  }

  /** Runs a script on the main connection. */
  run<T>(name: ScriptName, args: ScriptArguments): Promise<T> {
    return new Promise((resolve, reject) => this.call(name, args, resolve as (answer: unknown) => void, reject));
  }

  /** The same without a promise: one of both is called, in the turn in which the answer comes. */
  call(name: ScriptName, args: ScriptArguments, done: Told["done"], fail: Told["fail"]): void {
    if (this.#opened) this.script(this.main(), name, args, { done, fail });
    else
      this.open()
        .then(() => this.call(name, args, done, fail))
        .catch(fail);
  }

  /** Runs a script on a connection, right behind a blocking pop where one is given. */
  script(link: Link, name: ScriptName, args: ScriptArguments, { done, fail }: Told, pop?: Pop): void {
    const all = (): string[] => [...this.#keys, ...args] as string[];
    const count = this.#keys.length;
    const writes = !reads.has(name);
    // The server was restarted, or this is another node: the text itself loads it.
    const byText = (client: Client): Promise<unknown> => client.eval(sources[name], count, all());
    const head = (this.#heads[name] ??= ["evalsha", hashes[name], "1", this.prefix].map(argumentText).join(""));
    const failed = (reason: unknown): void => {
      if (isNoScript(reason)) link.send(byText, undefined, writes).then(done).catch(fail);
      else fail(link.failure(reason, writes));
    };
    const direct = { name: "evalsha", head, before: 4, args, told: { done, fail: failed } };
    if (
      pop === undefined ? link.direct(direct) : link.direct({ ...direct, lead: commandText("bzpopmin", ...pop.args) })
    ) {
      pop?.sent();
      return;
    }
    link
      .send<unknown>(
        (client) => {
          if (pop !== undefined) {
            pop.sent();
            (client as Redis).bzpopmin(...(pop.args as [string, number])).catch(() => undefined);
          }
          return client.evalsha(hashes[name], count, all());
        },
        (error) => (isNoScript(error) ? byText(link.client) : undefined),
        writes,
      )
      .then(done)
      .catch(fail);
  }

  /** The number of the main connection: another one after each time that it broke. */
  get number(): number {
    return this.main().number;
  }

  /**
   * Adds an entry to an inbox, and wakes who waits for its queue. `done` is told its id, or `null` where the inbox is gone. `false` where the
   * place is of another connection, or the client wants commands in another way: nothing was sent.
   */
  append({ connection, add, wake }: Place, entry: string, done: Told["done"], fail: Told["fail"]): boolean {
    const link = this.main();
    if (!this.#opened || link.number !== connection) return false;
    const told = { done, fail: (reason: unknown): void => fail(link.failure(reason, true)) };
    return link.direct({ name: "xadd", head: add, before: 5, args: [entry], told, trail: wake });
  }

  /** The same for what must be on replicas before it is acknowledged. */
  write<T>(name: ScriptName, args: ScriptArguments): Promise<T> {
    const { waitReplicas } = this.options;
    return waitReplicas === 0 ? this.run<T>(name, args) : this.#replicated<T>(name, args, waitReplicas);
  }

  async #replicated<T>(name: ScriptName, args: ScriptArguments, waitReplicas: number): Promise<T> {
    if (!this.#opened) await this.open();
    // On a connection of their own: what waits for replicas must not hold up heartbeats and claims.
    const { client: given } = this.options;
    const link = (this.#replicating ??= given === undefined ? this.another() : this.main());
    return link.send(
      async (client) => {
        const answer = await this.evaluate<T>(client, name, [], args);
        const reached = await (client as Redis).wait(waitReplicas, replicasMs);
        if (reached >= waitReplicas) return answer;
        throw new OmniQError(
          "OMNIQ_OUTCOME_UNKNOWN",
          `${this.what} has the write, but only ${reached} of ${waitReplicas} replicas have it after ${replicasMs} ms; it is safe to try again with the same ids`,
        );
      },
      undefined,
      true,
    );
  }

  /** Sends a script to a client. `keys` come after the prefix, and must be this namespace's. */
  evaluate<T>(client: Client, name: ScriptName, keys: readonly string[], args: ScriptArguments): Promise<T> {
    const all = [...this.#keys, ...keys, ...args];
    const count = this.#keys.length + keys.length;
    return (client.evalsha(hashes[name], count, all as string[]) as Promise<T>).catch((error: unknown) => {
      if (!isNoScript(error)) throw error;
      return client.eval(sources[name], count, all as string[]) as Promise<T>;
    });
  }

  /** The main connection. */
  main(): Link {
    if (this.#closed) throw this.closedError();
    const { client } = this.options;
    return (this.#main ??=
      client === undefined ? this.#mainLink() : new Link(client as unknown as Client, this.what, false));
  }

  /** A cluster's client breaks the connection to one node by itself; of others the link looks that they are not silent. */
  #mainLink(): Link {
    return this.options.cluster === undefined
      ? new Link(this.#connect({}), this.what, true, silenceMs)
      : new Link(this.#connect({ socketTimeout: silenceMs }), this.what, true);
  }

  /** A connection of its own for commands that wait. */
  another(): Link {
    if (this.#closed) throw this.closedError();
    const { client } = this.options;
    const override: ClientOptions = {
      enableOfflineQueue: false,
      maxRetriesPerRequest: null,
      autoResendUnfulfilledCommands: false,
      lazyConnect: false,
    };
    let made: Client;
    if (client === undefined) made = this.#connect({});
    else if ((client as { isCluster?: boolean }).isCluster === true)
      made = (client as unknown as Cluster).duplicate([], { enableOfflineQueue: true });
    else made = (client as unknown as Redis).duplicate(override);
    const link = new Link(made, this.what, true);
    this.#others.add(link);
    return link;
  }

  /** Lets go of a connection that {@link another} made. */
  drop(link: Link): void {
    this.#others.delete(link);
    link.close();
  }

  /** Checks, once, that the layout is one that this package knows, and that the server does not evict. */
  async open(): Promise<void> {
    if (this.#opened) return;
    this.#opening ??= this.#look().finally(() => (this.#opening = undefined));
    await this.#opening;
  }

  async ping(): Promise<void> {
    await this.open();
    await this.main().send((client) => client.ping());
  }

  /** Lets go of all connections. They are made again when needed, unless it is for ever. */
  close(forEver: boolean): void {
    this.#closed ||= forEver;
    for (const link of this.#others) link.close();
    this.#others.clear();
    this.#main?.close();
    this.#main = undefined;
    this.#replicating = undefined;
    this.#opened = false;
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend of ${this.what} is closed; make a new one`);
  }

  async #look(): Promise<void> {
    const link = this.main();
    const { db, client, cluster } = this.options;
    // ioredis goes on with number 0 where the server refuses another one.
    if (db !== 0 && client === undefined && cluster === undefined) {
      await link
        .send((own) => (own as Redis).select(db))
        .catch((error: unknown) => {
          if ((error as OmniQError).code !== "OMNIQ_BACKEND_FAILED") throw error;
          throw new OmniQError(
            "OMNIQ_CONFIG_INVALID",
            `${this.what} has no database ${db}; its setting "databases" says how many it has`,
            { cause: (error as OmniQError).cause },
          );
        });
    }
    const version = await link
      .send((client) => this.evaluate<string>(client, "open", [], [layoutVersion]))
      .catch((error: unknown) => {
        // Full: what is there already can still be worked on.
        if ((error as OmniQError).code === "OMNIQ_BACKEND_FULL") return String(layoutVersion);
        throw error;
      });
    if (Number(version) > layoutVersion) {
      throw new OmniQError(
        "OMNIQ_ADAPTER_INCOMPATIBLE",
        `The keys "${this.prefix}…" of ${this.what} have version ${version}, newer than ${layoutVersion}, which this @omniq/redis knows; update it`,
      );
    }
    this.#opened = true;
    const memory = await link.send((client) => client.info("memory")).catch(() => "");
    const policy = /^maxmemory_policy:(\S+)/m.exec(memory)?.[1];
    if (policy === undefined || policy === "noeviction" || warned.has(this.what)) return;
    warned.add(this.what);
    process.emitWarning(
      `${this.what} may evict keys (maxmemory-policy ${policy}), and with them tasks; set maxmemory-policy noeviction`,
      { type: "OmniQWarning", code: "OMNIQ_REDIS_EVICTS" },
    );
  }

  #connect(more: ClientOptions): Client {
    const { host, port, db, username, password, tls, sentinels, name, cluster } = this.options;
    const common: ClientOptions = {
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
      ...(tls === undefined ? {} : { tls }),
      protocol: 2,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: null,
      connectTimeout: 5_000,
      disableClientInfo: true,
      connectionName: "omniq",
      retryStrategy: (times) => Math.min(1_000, 25 * 2 ** Math.min(times, 6)) * (0.75 + Math.random() / 2),
      // A master that became a replica: look for the new one.
      reconnectOnError: (error) => (error.message.includes("READONLY") ? 1 : false),
      ...more,
    };
    if (cluster !== undefined) {
      // Its nodes come and go, so a cluster's client keeps a queue of its own and sends again.
      const { enableOfflineQueue: _queue, retryStrategy: _strategy, ...redisOptions } = common;
      return new Cluster([...cluster], {
        redisOptions: redisOptions as Legacy,
        clusterRetryStrategy: (times: number) => Math.min(1_000, 50 * times),
        slotsRefreshTimeout: 3_000,
      });
    }
    if (sentinels === undefined) return new Redis({ ...common, host, port, db } as Legacy);
    return new Redis({
      ...common,
      sentinels: [...sentinels],
      name,
      db,
      sentinelRetryStrategy: (times: number) => Math.min(1_000, 50 * times),
      failoverDetector: true,
      ...(tls === undefined ? {} : { enableTLSForSentinelMode: true }),
    } as Legacy);
  }
}

/** Replies as they were before RESP3, whatever the client's version. */
type Legacy = ClientOptions & { replyMapping?: "legacy" };

/** Servers that were warned about in this process. */
const warned = new Set<string>();
