// What waits in a worker, and when it starts: in the order in which it came, as slots come free; tasks of batch handlers as their batch is ready.
import { Collector } from "./collector.ts";
import type { Ending } from "./ending.ts";
import type { Execution } from "./execution.ts";
import type { Registry, Workable } from "./registry.ts";

/** Past so many that have started, the list of those that wait is cut. */
const cutAfter = 1_024;

export interface StarterHost {
  held(): Iterable<Execution>;
  end(execution: Execution, ending: Ending): void;
  overdue(execution: Execution): boolean;
  /** Its handler is about to be called. */
  started(execution: Execution): void;
  single(execution: Execution): void;
  batch(definition: Workable, executions: readonly Execution[]): void;
}

export class Starter {
  /** How many tasks batches hold, at most, that have not started. */
  readonly batchRoom: number;
  readonly #host: StarterHost;
  readonly #concurrency: number;
  readonly #leaseMs: number;
  readonly #collectors = new Map<string, Collector>();
  #waiting: Execution[] = [];
  #waitingStart = 0;
  /** Handlers that run. */
  #slots = 0;
  #fullSince = 0;
  #starting = false;

  constructor(host: StarterHost, registry: Registry, concurrency: number, leaseMs: number) {
    this.#host = host;
    this.#concurrency = concurrency;
    this.#leaseMs = leaseMs;
    let batchRoom = 0;
    for (const definition of registry.values()) {
      if (definition.handler.kind !== "batch") continue;
      this.#collectors.set(definition.name, new Collector(definition, () => this.start()));
      batchRoom += definition.handler.options.maxSize;
    }
    this.batchRoom = batchRoom;
  }

  /** Since when every slot is taken and none came free, by `performance.now()`; `undefined` while one is free. */
  get fullSince(): number | undefined {
    return this.#slots < this.#concurrency ? undefined : this.#fullSince;
  }
  /** One more waits; it starts at the next call of {@link start}. */
  add(execution: Execution): void {
    this.#waiting.push(execution);
  }
  /** Takes all that have not started. */
  takeAll(): readonly Execution[] {
    const collected = [...this.#collectors.values()].flatMap((collector) => collector.empty());
    const waiting = this.#waiting.slice(this.#waitingStart);
    this.#waiting = [];
    this.#waitingStart = 0;
    return [...collected, ...waiting];
  }
  /** Starts what may start now. */
  start(): void {
    // A handler that ends within its start frees its slot from inside this loop, which then goes on by itself.
    if (this.#starting) return;
    this.#starting = true;
    try {
      this.#startAll();
    } finally {
      this.#starting = false;
    }
  }
  /** The handler let go, whatever became of its tasks. */
  freed(slot: { free: boolean } | undefined): void {
    if (slot === undefined || slot.free) return;
    slot.free = true;
    this.#slots -= 1;
    this.start();
  }
  /** The execution ended. Its slot is free, unless others of its batch still run. */
  ended(execution: Execution): void {
    const { slot } = execution;
    if (slot === undefined || slot.free) return;
    if (execution.definition?.handler.kind === "batch") {
      for (const other of this.#host.held()) if (other.slot === slot && other.phase === "running") return;
    }
    this.freed(slot);
  }

  #startAll(): void {
    for (;;) {
      if (this.#slots < this.#concurrency) {
        const collector = this.#readyCollector();
        if (collector !== undefined) {
          this.#startBatch(collector);
          continue;
        }
      }
      const next = this.#waiting[this.#waitingStart];
      if (next === undefined) {
        this.#waiting = [];
        this.#waitingStart = 0;
        return;
      }
      const batch = next.definition?.handler.kind === "batch";
      if (!batch && this.#slots >= this.#concurrency) return;
      this.#waitingStart += 1;
      if (this.#waitingStart > cutAfter) {
        this.#waiting = this.#waiting.slice(this.#waitingStart);
        this.#waitingStart = 0;
      }
      if (next.phase !== "waiting" || !this.#mayStart(next)) continue;
      if (batch) this.#collectors.get(next.lease.task.name)?.add(next);
      else this.#startOne(next);
    }
  }
  #readyCollector(): Collector | undefined {
    for (const collector of this.#collectors.values()) if (collector.ready) return collector;
    return undefined;
  }

  /** The last look before a handler starts; what may not start is ended here. */
  #mayStart(execution: Execution): boolean {
    const now = performance.now();
    const { task } = execution.lease;
    if (execution.cancelling) {
      this.#host.end(execution, { kind: "cancelled" });
      return false;
    }
    if (this.#host.overdue(execution)) {
      this.#host.end(execution, { kind: "release" });
      return false;
    }
    if (task.expiresAt !== undefined) {
      // The store's clock: what it said when it gave the lease, and the time since.
      const reservedAt = execution.lease.deadline - this.#leaseMs;
      const firstStart = task.startedAt === undefined || task.startedAt >= reservedAt;
      if (
        firstStart &&
        reservedAt + (now - execution.lease.sentAt) >= task.expiresAt &&
        now - execution.heldSince > 1
      ) {
        this.#host.end(execution, { kind: "release" });
        return false;
      }
    }
    return true;
  }

  #startOne(execution: Execution): void {
    this.#slots += 1;
    execution.slot = { free: false };
    this.#host.started(execution);
    this.#fullSince = execution.startedAt;
    this.#host.single(execution);
  }
  #startBatch(collector: Collector): void {
    const batch = collector.take().filter((execution) => execution.phase === "waiting" && this.#mayStart(execution));
    if (batch.length === 0) return;
    this.#slots += 1;
    const slot = { free: false };
    for (const execution of batch) {
      execution.slot = slot;
      this.#host.started(execution);
      this.#fullSince = execution.startedAt;
    }
    this.#host.batch(collector.definition, batch);
  }
}
