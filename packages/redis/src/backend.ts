// The Redis backend: its connections, four components, closed together.
import type { Backend, BackendReport, RemoteBackend, TaskQueueCapabilities } from "@omniq/core";
import { Connection } from "./connection.ts";
import { DamageReports } from "./damage-reports.ts";
import { RedisEventStorage } from "./event-storage.ts";
import { Notices } from "./notices.ts";
import type { CheckedOptions, RedisOptions } from "./options.ts";
import { RedisResultStorage } from "./result-storage.ts";
import { RedisScheduleStorage } from "./schedule-storage.ts";
import { RedisTaskQueue } from "./task-queue.ts";

const maxBytes = 100 * 1024 * 1024;
/** Lua's `unpack` ends near 8,000 values, and a script keeps everyone waiting while it runs. */
const maxBatch = 1_000;

interface Closable {
  close(): Promise<void>;
}

export class RedisBackend implements Backend {
  readonly type = "redis";
  readonly contract = 1;
  readonly #remote: RemoteBackend | undefined;
  readonly #damage = new DamageReports();
  readonly #connection: Connection;
  readonly #notices: Notices;
  readonly #capabilities: TaskQueueCapabilities;
  readonly #components = new Map<string, Closable>();
  readonly #open = new Set<string>();
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions, given: RedisOptions) {
    this.#connection = new Connection(options);
    this.#notices = new Notices(this.#connection);
    // A client and the functions of TLS options can't go to another thread.
    const remotely = options.client === undefined && typeof given.tls !== "object";
    if (remotely) {
      // Sources load sources, the build loads the build.
      const module = new URL(import.meta.url.endsWith(".ts") ? "./index.ts" : "./index.js", import.meta.url).href;
      this.#remote = { module, options: { ...given } };
    }
    this.#capabilities = {
      durable: true,
      push: true,
      reach: "network",
      transactions: false,
      priorities: true,
      dependencies: true,
      deduplication: true,
      groups: true,
      queueLimits: true,
      rateLimits: true,
      remoteHeartbeats: remotely,
      maxPayloadBytes: maxBytes,
      maxBatch,
      minimumLeaseMs: 1,
    };
  }

  /** It has the password, so it is no field that a look at the backend would show. */
  get remote(): RemoteBackend | undefined {
    return this.#remote;
  }

  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#damage.listen(listener);
  }

  taskQueue(): RedisTaskQueue {
    return this.#component(
      "task-queue",
      (onClose) => new RedisTaskQueue(this, this.#connection, this.#notices, this.#damage, this.#capabilities, onClose),
    );
  }

  resultStorage(): RedisResultStorage {
    const capabilities = { ...this.#common(), maxValueBytes: maxBytes, maxBatch };
    return this.#component(
      "result-storage",
      (onClose) => new RedisResultStorage(this, this.#connection, this.#notices, this.#damage, capabilities, onClose),
    );
  }

  eventStorage(): RedisEventStorage {
    const capabilities = { ...this.#common(), maxDataBytes: maxBytes, maxBatch };
    return this.#component(
      "event-storage",
      (onClose) => new RedisEventStorage(this, this.#connection, this.#damage, capabilities, onClose),
    );
  }

  scheduleStorage(): RedisScheduleStorage {
    return this.#component(
      "schedule-storage",
      (onClose) => new RedisScheduleStorage(this, this.#connection, this.#damage, this.#common(), onClose),
    );
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw this.#connection.closedError();
    await this.#connection.ping();
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#closeAll());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    await Promise.all([...this.#components.values()].map((component) => component.close()));
    this.#notices.release();
    this.#connection.close(true);
  }

  #common(): { readonly durable: boolean; readonly push: boolean; readonly reach: "network" } {
    return { durable: true, push: true, reach: "network" };
  }

  #component<C extends Closable>(kind: string, make: (onClose: () => Promise<void>) => C): C {
    const made = this.#components.get(kind);
    if (made !== undefined) return made as C;
    const component = make(async () => {
      this.#open.delete(kind);
      // The last component lets go of the connections, though the backend itself may never be closed.
      if (this.#open.size > 0 || this.#closing !== undefined) return;
      this.#notices.release();
      this.#connection.close(false);
    });
    this.#components.set(kind, component);
    this.#open.add(kind);
    return component;
  }
}
