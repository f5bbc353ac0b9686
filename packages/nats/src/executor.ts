// Runs commands on one partition's log: opens the replica when it is first needed, and lets it go.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError, OmniQError } from "@omniq/core";
import type { AnswerOf, Changes, Command, Executor, ReplicaState } from "@omniq/replica";
import { createState, Listeners, Replica } from "@omniq/replica";
import type { Connection } from "./connection.ts";
import { DirectEnqueue } from "./direct-enqueue.ts";
import { NatsLog } from "./log.ts";
import type { CheckedOptions } from "./options.ts";
import type { FirstLook } from "./first-look.ts";
import { defaultPartition, type Partitions } from "./partitions.ts";

/** How long a call rests before it asks again whether the server is back. */
const awayMs = 50;

export class LogExecutor implements Executor {
  readonly #connection: Connection;
  readonly #options: CheckedOptions;
  readonly #listeners: Listeners = new Listeners();
  readonly #log: NatsLog;
  readonly #direct: DirectEnqueue;
  readonly #firstLook: FirstLook;
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
  ) {
    const { prefix, replicas, giveUpMs } = options;
    this.#connection = connection;
    this.#options = options;
    this.#firstLook = firstLook;
    // Only the default log carries the partitions; every process looks there.
    const layout = partition === defaultPartition ? partitions.layout : undefined;
    this.#log = new NatsLog(connection, { prefix, partition, layout }, replicas, (message) =>
      process.emitWarning(message, "OmniQWarning"),
    );
    this.#direct = new DirectEnqueue(this.#log, giveUpMs);
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    if (this.#replica === undefined && this.#closing === undefined) await this.#outlast(() => this.#firstLook.look());
    if (this.#opening === undefined && this.#direct.takes(commands))
      return (await this.#direct.send(commands)) as never;
    const replica = this.#replica ?? (await this.#outlast(() => this.open()));
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

  /** Before the state is known, too, a call waits for a server that went away: who asks again at once would be refused as fast, and never rest. */
  async #outlast<T>(work: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#options.giveUpMs;
    for (;;) {
      try {
        return await work();
      } catch (error) {
        const wait = this.#connection.away && isOmniQError(error, "OMNIQ_BACKEND_UNAVAILABLE");
        if (!wait || performance.now() > deadline) throw error;
      }
      await sleep(awayMs);
    }
  }

  /** Loads the state and goes on following the log. */
  async open(): Promise<Replica> {
    if (this.#closing !== undefined)
      throw new OmniQError("OMNIQ_CLOSED", "The NATS backend is closed; make a new one to go on");
    return await (this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    }));
  }
  async #open(): Promise<Replica> {
    const { eventTtlMs, checkpointBytes, giveUpMs } = this.#options;
    const replica = await Replica.open(this.#log, { eventTtlMs, checkpointBytes, giveUpMs });
    replica.subscribe((changes) => this.#listeners.notify(changes));
    this.#replica = replica;
    return replica;
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      this.#listeners.clear();
      const log = this.#log.close();
      const replica = await this.#opening?.catch(() => undefined);
      await replica?.close();
      await log;
    })());
  }
}
