// The memory backend: the replica's state machine without a log, shared by name inside one process.
import { checkInteger, checkKey, OmniQError } from "@omniq/core";
import type { Backend, EventStorage, ResultStorage, ScheduleStorage, TaskQueue } from "@omniq/core";
import { createComponents, LocalExecutor, type ComponentMakers } from "@omniq/replica";
import type { MemoryOptions } from "./options.ts";

/** A state that open backends share. */
interface SharedState {
  readonly executor: LocalExecutor;
  holders: number;
}
// Named states live with the process, not with this copy of the module, so that duplicate installs share them too.
const registryKey: unique symbol = Symbol.for("omniq.memory.states") as never;
const registry = ((globalThis as { [registryKey]?: Map<string, SharedState> })[registryKey] ??= new Map<
  string,
  SharedState
>());

/** 64 MiB: what memory and the events of one process bear. */
const maxPayloadBytes = 67_108_864;

export class MemoryBackend implements Backend {
  readonly type = "memory";
  readonly contract = 1;
  readonly #name: string | undefined;
  readonly #shared: SharedState;
  readonly #components: ComponentMakers;
  #closed = false;

  constructor(options: MemoryOptions) {
    const { name, now, eventTtlMs } = options;
    if (name !== undefined) checkKey("The name of a memory backend", name);
    if (eventTtlMs !== undefined) checkInteger("eventTtlMs", eventTtlMs, 1);
    this.#name = name;
    this.#shared = (name === undefined ? undefined : registry.get(name)) ?? {
      executor: new LocalExecutor({ now, eventTtlMs }),
      holders: 0,
    };
    this.#shared.holders++;
    if (name !== undefined) registry.set(name, this.#shared);
    this.#components = createComponents(this.#shared.executor, {
      backend: this.#shared,
      durable: false,
      push: true,
      reach: "process",
      maxPayloadBytes,
      maxBatch: 10_000,
      minimumLeaseMs: 1,
    });
  }

  taskQueue(): TaskQueue {
    return this.#open().taskQueue();
  }
  resultStorage(): ResultStorage {
    return this.#open().resultStorage();
  }
  eventStorage(): EventStorage {
    return this.#open().eventStorage();
  }
  scheduleStorage(): ScheduleStorage {
    return this.#open().scheduleStorage();
  }

  async check(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#open();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#components.close();
    this.#shared.holders--;
    if (this.#name !== undefined && this.#shared.holders === 0) registry.delete(this.#name);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #open(): ComponentMakers {
    if (this.#closed) throw new OmniQError("OMNIQ_CLOSED", "The memory backend is closed; make a new one to go on");
    return this.#components;
  }
}
