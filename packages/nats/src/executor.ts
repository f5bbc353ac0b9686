// Runs commands on one partition's log: opens the replica when it is first needed, and lets it go.
import type { AnswerOf, Changes, Command, Executor, ReplicaState } from "@omniq/replica";
import { createState, Listeners, Replica } from "@omniq/replica";
import type { Connection } from "./connection.ts";
import { NatsLog } from "./log.ts";
import type { CheckedOptions } from "./options.ts";

interface Opened {
  readonly log: NatsLog;
  readonly replica: Replica;
}

export class LogExecutor implements Executor {
  readonly #connection: Connection;
  readonly #options: CheckedOptions;
  readonly #partition: string;
  readonly #listeners: Listeners = new Listeners();
  #opening: Promise<Opened> | undefined;
  #opened: Opened | undefined;
  #empty: ReplicaState | undefined;
  #closing: Promise<void> | undefined;

  constructor(connection: Connection, options: CheckedOptions, partition: string) {
    this.#connection = connection;
    this.#options = options;
    this.#partition = partition;
  }

  async execute<const C extends readonly Command[]>(
    commands: C,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<{ readonly [K in keyof C]: C[K] extends Command ? AnswerOf<C[K]> : never }> {
    options.signal?.throwIfAborted();
    const { replica } = this.#opened ?? (await this.open());
    return await replica.execute(commands, options);
  }

  now(): number {
    return this.#opened?.replica.now() ?? Date.now();
  }
  view(): ReplicaState {
    return this.#opened?.replica.view() ?? (this.#empty ??= createState());
  }
  subscribe(listener: (changes: Changes) => void): () => void {
    return this.#listeners.add(listener);
  }

  /** Loads the state and goes on following the log. */
  open(): Promise<Opened> {
    if (this.#closing !== undefined) throw this.#connection.closedError();
    return (this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    }));
  }
  async #open(): Promise<Opened> {
    const { prefix, replicas, eventTtlMs, checkpointBytes, giveUpMs } = this.#options;
    const log = new NatsLog(this.#connection, { prefix, partition: this.#partition }, replicas, (message) =>
      process.emitWarning(message, "OmniQWarning"),
    );
    try {
      const replica = await Replica.open(log, { eventTtlMs, checkpointBytes, giveUpMs });
      replica.subscribe((changes) => this.#listeners.notify(changes));
      this.#opened = { log, replica };
      return this.#opened;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      this.#listeners.clear();
      const opened = await this.#opening?.catch(() => undefined);
      await opened?.replica.close();
      await opened?.log.close();
    })());
  }
}
