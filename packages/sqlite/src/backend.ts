// The SQLite backend: one connection, four components, closed together.
import type { Backend, BackendReport, RemoteBackend, TaskQueueCapabilities } from "@omniq/core";
import { SqliteEventStorage } from "./event-storage.ts";
import type { CheckedOptions } from "./options.ts";
import { SqliteResultStorage } from "./result-storage.ts";
import { SqliteScheduleStorage } from "./schedule-storage.ts";
import { Store } from "./store.ts";
import { SqliteTaskQueue } from "./task-queue.ts";

const maxBytes = 100 * 1024 * 1024;
const maxBatch = 10_000;

interface Closable {
  close(): Promise<void>;
}

/** Where a thread finds this package: sources load sources, the build loads the build. `undefined` in a bundle, where neither is beside it. */
function moduleUrl(): string | undefined {
  const here = import.meta.url as string | undefined;
  const own = here === undefined ? null : /\/backend(\.[jt]s)$/.exec(here);
  return own === null ? undefined : new URL(`./index${own[1]}`, here).href;
}

export class SqliteBackend implements Backend {
  readonly type = "sqlite";
  readonly contract = 1;
  readonly remote: RemoteBackend | undefined;
  readonly #store: Store;
  readonly #capabilities: TaskQueueCapabilities;
  readonly #components = new Map<string, Closable>();
  readonly #open = new Set<string>();
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions) {
    this.#store = new Store(options);
    const { path } = this.#store.connection;
    const inMemory = options.database === undefined && path === undefined;
    // A test's clock is a function and can't go to another thread.
    const module = moduleUrl();
    const remotely = path !== undefined && options.now === Date.now && module !== undefined;
    if (remotely) {
      const { synchronous, prefix, eventTtlMs } = options;
      this.remote = { module, options: { databasePath: path, synchronous, prefix, eventTtlMs } };
    }
    this.#capabilities = {
      durable: !inMemory,
      push: true,
      reach: inMemory ? "process" : "host",
      transactions: "sync",
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

  taskQueue(): SqliteTaskQueue {
    return this.#component(
      "task-queue",
      (onClose) => new SqliteTaskQueue(this, this.#store, this.#capabilities, onClose),
    );
  }

  resultStorage(): SqliteResultStorage {
    const { durable, push, reach } = this.#capabilities;
    const capabilities = { durable, push, reach, maxValueBytes: maxBytes, maxBatch };
    return this.#component(
      "result-storage",
      (onClose) => new SqliteResultStorage(this, this.#store, capabilities, onClose),
    );
  }

  eventStorage(): SqliteEventStorage {
    const { durable, push, reach } = this.#capabilities;
    const capabilities = { durable, push, reach, maxDataBytes: maxBytes, maxBatch };
    return this.#component(
      "event-storage",
      (onClose) => new SqliteEventStorage(this, this.#store, capabilities, onClose),
    );
  }

  scheduleStorage(): SqliteScheduleStorage {
    const { durable, push, reach } = this.#capabilities;
    return this.#component(
      "schedule-storage",
      (onClose) => new SqliteScheduleStorage(this, this.#store, { durable, push, reach }, onClose),
    );
  }

  /** Tells of stored items that cannot be read, each once. */
  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#store.reports.listen(listener);
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw this.#store.connection.closedError();
    await this.#store.read((sql) => sql.get("SELECT value FROM {p}_meta WHERE key = 'version'"));
  }

  close(): Promise<void> {
    return (this.#closing ??= this.#closeAll());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #closeAll(): Promise<void> {
    await Promise.all([...this.#components.values()].map((component) => component.close()));
    await this.#store.close(true);
  }

  #component<C extends Closable>(kind: string, make: (onClose: () => Promise<void>) => C): C {
    const made = this.#components.get(kind);
    if (made !== undefined) return made as C;
    const component = make(async () => {
      this.#open.delete(kind);
      // The last component lets go of the file, though the backend itself may never be closed.
      if (this.#open.size === 0 && this.#closing === undefined) await this.#store.close(false);
    });
    this.#components.set(kind, component);
    this.#open.add(kind);
    return component;
  }
}
