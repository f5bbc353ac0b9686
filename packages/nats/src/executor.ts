// Runs commands on one partition's log: opens the replica when it is first needed, and lets it go.
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError } from "@omniq/core";
import type { AnswerOf, Changes, Command, Executor, ReplicaOptions, ReplicaState } from "@omniq/replica";
import { abortable, allChanged, createState, Listeners, Replica } from "@omniq/replica";
import type { Connection } from "./connection.ts";
import { DirectEnqueue } from "./direct-enqueue.ts";
import { NatsLog } from "./log.ts";
import type { CheckedOptions } from "./options.ts";
import type { FirstLook } from "./first-look.ts";
import { defaultPartition, type Partitions } from "./partitions.ts";

/** How long a call rests before it asks again whether the server is back. */
const awayMs = 50;
/** How long whoever only listens rests before the log is opened again. */
const followMs = 1_000;

export class LogExecutor implements Executor {
  readonly #connection: Connection;
  readonly #options: CheckedOptions;
  readonly #listeners: Listeners = new Listeners();
  readonly #log: NatsLog;
  readonly #direct: DirectEnqueue;
  readonly #firstLook: FirstLook;
  readonly #report: NonNullable<ReplicaOptions["report"]>;
  readonly #ended: AbortController = new AbortController();
  #opening: Promise<Replica> | undefined;
  #replica: Replica | undefined;
  #empty: ReplicaState | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    connection: Connection,
    options: CheckedOptions,
    partition: string,
    partitions: Partitions,
    firstLook: FirstLook,
    report: NonNullable<ReplicaOptions["report"]>,
  ) {
    const { prefix, replicas, giveUpMs } = options;
    this.#connection = connection;
    this.#options = options;
    this.#firstLook = firstLook;
    // Only the default log carries the partitions; every process looks there.
    const layout = partition === defaultPartition ? partitions.layout : undefined;
    this.#report = report;
    this.#log = new NatsLog(connection, { prefix, partition, layout }, replicas, {
      warn: (message) => process.emitWarning(message, "OmniQWarning"),
      report: (message) => report("error", message, undefined),
    });
    this.#direct = new DirectEnqueue(this.#log, giveUpMs);
    // Every call that waits for the opening listens: many are no leak.
    setMaxListeners(0, this.#ended.signal);
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    const { signal } = options;
    signal?.throwIfAborted();
    this.#ended.signal.throwIfAborted();
    const within = async <T>(work: Promise<T>): Promise<T> => await abortable(work, signal, this.#ended.signal);
    if (this.#replica === undefined) await within(this.#outlast(() => this.#firstLook.look()));
    if (this.#opening === undefined && this.#direct.takes(commands))
      return (await within(this.#direct.send(commands))) as never;
    const replica = this.#replica ?? (await within(this.#outlast(() => this.open())));
    return await replica.execute(commands, options);
  }

  now(): number {
    return this.#replica?.now() ?? Date.now();
  }
  view(): ReplicaState {
    return this.#replica?.view() ?? (this.#empty ??= createState());
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Opens it where that was not done yet, and again while that fails. */
  follow(): void {
    if (this.#replica !== undefined || this.#ended.signal.aborted) return;
    this.open().catch(() => {
      setTimeout(() => this.follow(), followMs).unref();
    });
  }

  /** Before the state is known, too, a call waits for a server that went away: who asks again at once would be refused as fast, and never rest. */
  async #outlast<T>(work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#options.giveUpMs;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const wait = this.#connection.away && isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE");
        if (!wait || performance.now() > deadline || this.#ended.signal.aborted) throw error;
      }
      await sleep(awayMs);
    }
  }

  /** Loads the state and goes on following the log. */
  async open(): Promise<Replica> {
    this.#ended.signal.throwIfAborted();
    return await (this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    }));
  }
  async #open(): Promise<Replica> {
    const { eventTtlMs, checkpointBytes, giveUpMs } = this.#options;
    const report = this.#report;
    const replica = await Replica.open(this.#log, { eventTtlMs, checkpointBytes, giveUpMs, report });
    replica.subscribe((changes) => this.#listeners.notify(changes));
    this.#replica = replica;
    // What happened while it was loaded stands in the state alone.
    this.#listeners.notify(allChanged);
    return replica;
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      this.#ended.abort(this.#connection.closedError());
      this.#listeners.clear();
      // A replica that is being opened fails as its log closes; nobody waits for it.
      this.#opening?.then((replica) => replica.close()).catch(() => undefined);
      await this.#replica?.close();
      await this.#log.close();
    })());
  }
}
