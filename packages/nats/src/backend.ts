// The NATS backend: one connection, a replica per partition, four components, closed together.
import { Reports } from "@omniq/core";
import type {
  Backend,
  BackendReport,
  EventStorage,
  RemoteBackend,
  ResultStorage,
  ScheduleStorage,
  TaskQueue,
} from "@omniq/core";
import { conceal, createComponents, endSoon, type ComponentMakers, type ComponentOptions } from "@omniq/replica";
import { Connection } from "./connection.ts";
import type { NatsDurability } from "./durability.ts";
import { LogExecutor } from "./executor.ts";
import { FirstLook } from "./first-look.ts";
import type { CheckedOptions } from "./options.ts";
import { PartitionedEventStorage, PartitionedResultStorage } from "./partitioned-storages.ts";
import { PartitionedTaskQueue } from "./partitioned-task-queue.ts";
import { Partitions } from "./partitions.ts";

/** UTF-8 bytes of a payload, a result's value and an event's data; what is larger than a message goes in parts. */
const maxPayloadBytes = 1_048_576;
const maxBatch = 1_000;

export class NatsBackend implements Backend {
  readonly type = "nats";
  readonly contract = 1;
  readonly remote: RemoteBackend | undefined;
  readonly #connection: Connection;
  readonly #firstLook: FirstLook;
  readonly #executors: readonly LogExecutor[];
  readonly #components: ComponentMakers;
  readonly #reports: Reports = new Reports();
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions) {
    const { connection, ...plain } = options.given;
    this.#connection = new Connection(options);
    const partitions = new Partitions(options.partitions);
    this.#firstLook = new FirstLook(this.#connection, options, partitions);
    this.#executors = partitions.names.map(
      (name) =>
        new LogExecutor(this.#connection, options, name, partitions, this.#firstLook, (level, message, fields) =>
          this.#reports.send(level, message, fields),
        ),
    );
    if (connection === undefined) {
      // Sources load sources, the build loads the build.
      const module = new URL(import.meta.url.endsWith(".ts") ? "./index.ts" : "./index.js", import.meta.url).href;
      // One warning a process is enough.
      this.remote = { module, options: conceal({ ...plain, durabilityWarning: false }) };
    }
    this.#components = componentsOver(this.#executors, partitions, {
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
    await this.#firstLook.look();
  }

  /**
   * What an acknowledged call survives on this server: how many servers keep the default log, and what is known of how they write it. The server's
   * `sync_interval` is not among what a server tells its clients. Makes the default log where it is missing.
   */
  durability(): Promise<NatsDurability> {
    return this.#firstLook.durability();
  }

  /** What can't be read in the streams: foreign and damaged messages and checkpoints, each once. */
  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#reports.listen(listener);
  }

  close(): Promise<void> {
    return (this.#closing ??= (async () => {
      await endSoon(this.#components.close());
      await Promise.all(this.#executors.map((executor) => executor.close()));
      await this.#connection.close();
    })());
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The components of one log as they are; those of several, joined. Schedules are all in the default log, which is the last. */
function componentsOver(
  executors: readonly LogExecutor[],
  partitions: Partitions,
  options: ComponentOptions,
): ComponentMakers {
  const parts = executors.map((executor) => createComponents(executor, options));
  const last = parts.at(-1) as ComponentMakers;
  if (parts.length === 1) return last;
  const { backend } = options;
  let taskQueue: TaskQueue | undefined;
  let resultStorage: ResultStorage | undefined;
  let eventStorage: EventStorage | undefined;
  return {
    taskQueue: () =>
      (taskQueue ??= new PartitionedTaskQueue(
        parts.map((part) => part.taskQueue()),
        partitions,
        backend,
      )),
    resultStorage: () =>
      (resultStorage ??= new PartitionedResultStorage(
        parts.map((part) => part.resultStorage()),
        partitions,
        backend,
      )),
    eventStorage: () =>
      (eventStorage ??= new PartitionedEventStorage(
        parts.map((part) => part.eventStorage()),
        partitions,
        backend,
      )),
    scheduleStorage: () => last.scheduleStorage(),
    close: async () => {
      await Promise.all(parts.map((part) => part.close()));
    },
  };
}
