// The NATS backend: one connection, a replica per partition, four components, closed together.
import type { Backend, EventStorage, RemoteBackend, ResultStorage, ScheduleStorage, TaskQueue } from "@omniq/core";
import { createComponents, type ComponentMakers } from "@omniq/replica";
import { Connection } from "./connection.ts";
import { LogExecutor } from "./executor.ts";
import { defaultPartition, type CheckedOptions } from "./options.ts";

/** UTF-8 bytes of a payload, a result's value and an event's data; what is larger than a message goes in parts. */
const maxPayloadBytes = 1_048_576;
const maxBatch = 1_000;

export class NatsBackend implements Backend {
  readonly type = "nats";
  readonly contract = 1;
  readonly remote: RemoteBackend | undefined;
  readonly #connection: Connection;
  readonly #executor: LogExecutor;
  readonly #components: ComponentMakers;
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions) {
    const { connection, ...plain } = options.given;
    this.#connection = new Connection(options);
    this.#executor = new LogExecutor(this.#connection, options, defaultPartition);
    if (connection === undefined) {
      // Sources load sources, the build loads the build.
      const module = new URL(import.meta.url.endsWith(".ts") ? "./index.ts" : "./index.js", import.meta.url).href;
      this.remote = { module, options: plain };
    }
    this.#components = createComponents(this.#executor, {
      backend: this,
      durable: true,
      push: true,
      reach: "network",
      remoteHeartbeats: this.remote !== undefined,
      maxPayloadBytes,
      maxBatch,
      minimumLeaseMs: 1,
    });
  }

  taskQueue(): TaskQueue {
    return this.#components.taskQueue();
  }
  resultStorage(): ResultStorage {
    return this.#components.resultStorage();
  }
  eventStorage(): EventStorage {
    return this.#components.eventStorage();
  }
  scheduleStorage(): ScheduleStorage {
    return this.#components.scheduleStorage();
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    await this.#connection.manage("Asking for JetStream", (manager) => manager.getAccountInfo());
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await this.#components.close();
      await this.#executor.close();
      await this.#connection.close();
    })());
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
