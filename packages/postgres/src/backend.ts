// The PostgreSQL backend: one connection, four components, closed together.
import { inspect } from "node:util";
import type { Backend, BackendReport, RemoteBackend, TaskQueueCapabilities } from "@omniq/core";
import { PostgresEventStorage } from "./event-storage.ts";
import type { CheckedOptions } from "./options.ts";
import { PostgresResultStorage } from "./result-storage.ts";
import { PostgresScheduleStorage } from "./schedule-storage.ts";
import { Store } from "./store.ts";
import { PostgresTaskQueue } from "./task-queue.ts";

/** A statement's text parameter ends at 1 GiB; a column of a whole batch is one. */
const maxBytes = 16 * 1024 * 1024;
const maxBatch = 2_000;

interface Closable {
  close(): Promise<void>;
}

export class PostgresBackend implements Backend {
  readonly type = "postgres";
  readonly contract = 1;
  readonly #remote: RemoteBackend | undefined;
  readonly #store: Store;
  readonly #capabilities: TaskQueueCapabilities;
  readonly #components = new Map<string, Closable>();
  readonly #open = new Set<string>();
  #closing: Promise<void> | undefined;

  constructor(options: CheckedOptions) {
    this.#store = new Store(options);
    // Who prints a backend sees where it is, with whatever options of `inspect`.
    const shown = `PostgresBackend { ${options.server}, schema ${JSON.stringify(options.schema)} }`;
    Object.defineProperty(this, inspect.custom, { value: () => shown });
    // A pool of the user's can't go to another thread, and TLS options may hold what can't.
    const { tls } = options.given;
    const remotely = options.pool === undefined && (tls === undefined || typeof tls === "boolean" || isPlain(tls));
    if (remotely) {
      // Sources load sources, the build loads the build.
      const module = new URL(import.meta.url.endsWith(".ts") ? "./index.ts" : "./index.js", import.meta.url).href;
      this.#remote = { module, options: { ...options.given, maxConnections: 1 } };
    }
    this.#capabilities = {
      durable: true,
      push: options.listen,
      reach: "network",
      transactions: "async",
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

  /** For core. Not a field, since the options hold the password, and a backend may be printed. */
  get remote(): RemoteBackend | undefined {
    return this.#remote;
  }

  onReport(listener: (report: BackendReport) => void): () => void {
    return this.#store.connection.reports.listen(listener);
  }

  taskQueue(): PostgresTaskQueue {
    return this.#component(
      "task-queue",
      (onClose) => new PostgresTaskQueue(this, this.#store, this.#capabilities, onClose),
    );
  }

  resultStorage(): PostgresResultStorage {
    const { durable, push, reach } = this.#capabilities;
    const capabilities = { durable, push, reach, maxValueBytes: maxBytes, maxBatch };
    return this.#component(
      "result-storage",
      (onClose) => new PostgresResultStorage(this, this.#store, capabilities, onClose),
    );
  }

  eventStorage(): PostgresEventStorage {
    const { durable, push, reach } = this.#capabilities;
    const capabilities = { durable, push, reach, maxDataBytes: maxBytes, maxBatch };
    return this.#component(
      "event-storage",
      (onClose) => new PostgresEventStorage(this, this.#store, capabilities, onClose),
    );
  }

  scheduleStorage(): PostgresScheduleStorage {
    const { durable, push, reach } = this.#capabilities;
    return this.#component(
      "schedule-storage",
      (onClose) => new PostgresScheduleStorage(this, this.#store, { durable, push, reach }, onClose),
    );
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    if (this.#closing !== undefined) throw this.#store.connection.closedError();
    await this.#store.connection.query("SELECT value FROM {s}.meta WHERE key = 'version'", [], { harmless: true });
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
      // The last component lets go of the connections, though the backend itself may never be closed.
      if (this.#open.size === 0 && this.#closing === undefined) await this.#store.close(false);
    });
    this.#components.set(kind, component);
    this.#open.add(kind);
    return component;
  }
}

function isPlain(value: Readonly<Record<string, unknown>>): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
