// The task queue on SQLite: each verb is a small function in a file of its own; here they meet group commit and waiting.
import {
  isOmniQError,
  type CallOptions,
  type EnqueueAnswer,
  type EnqueueCall,
  type EnqueueOptions,
  type Lease,
  type LeaseExtension,
  type LeaseState,
  type Page,
  type PageRequest,
  type QueueCancelState,
  type QueueCounts,
  type QueueSettings,
  type RemoveState,
  type ReserveRequest,
  type RetryOptions,
  type RetryState,
  type Settlement,
  type SettleState,
  type StoredTask,
  type StoredTaskState,
  type TaskFilter,
  type TaskQueue,
  type TaskQueueCapabilities,
  type UnrecordedOutcome,
} from "@omniq/core";
import { cancelTasks, configure, purgeCondition, purgeStep, removeTasks, retryTasks, setPaused } from "./control.ts";
import { enqueueAll } from "./enqueue.ts";
import { countTasks, getTasks, listTasks } from "./inspect.ts";
import { record, unrecorded } from "./outcomes.ts";
import { lookAhead, reserveTasks, type Outlook } from "./reserve.ts";
import { extendLeases, settleAll } from "./settle.ts";
import { Lifetime, type Store } from "./store.ts";
import { newSweep, sweepTasks } from "./upkeep.ts";

const purgeStepSize = 1_000;

export class SqliteTaskQueue implements TaskQueue {
  readonly component = "task-queue" as const;
  readonly backend: object;
  readonly capabilities: TaskQueueCapabilities;
  readonly #store: Store;
  readonly #life: Lifetime;
  readonly #sweep = newSweep();

  constructor(backend: object, store: Store, capabilities: TaskQueueCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#life = new Lifetime("task queue", onClose);
  }

  async enqueue(calls: readonly EnqueueCall[], options: EnqueueOptions = {}): Promise<readonly EnqueueAnswer[]> {
    this.#life.check(options.signal);
    if (options.transaction !== undefined) return this.enqueueSync(calls, { transaction: options.transaction });
    return this.#store.write((tx) => enqueueAll(tx, calls), options.signal, this.#life.signal);
  }

  enqueueSync(calls: readonly EnqueueCall[], options: { readonly transaction: unknown }): readonly EnqueueAnswer[] {
    this.#life.check();
    return this.#store.inTransaction(options.transaction, (tx) => enqueueAll(tx, calls));
  }

  async reserve(request: ReserveRequest, options: CallOptions = {}): Promise<readonly Lease[]> {
    const { signal } = options;
    const ended = this.#life.signal;
    this.#life.check(signal);
    const until = performance.now() + request.waitMs;
    const look = async (all?: "all"): Promise<Outlook> =>
      this.#store.read((sql, now) => lookAhead(sql, request.queues, now, all), signal);
    const attempt = async (): Promise<readonly Lease[]> =>
      this.#store
        .write((tx) => (ended.aborted ? [] : reserveTasks(tx, request)), signal)
        .catch((error: unknown): readonly Lease[] => {
          if (ended.aborted && isOmniQError(error, "OMNIQ_CLOSED")) return [];
          throw error;
        });
    for (;;) {
      let outlook = await look();
      if (ended.aborted) return [];
      if (outlook.worth) {
        const leases = await attempt();
        if (leases.length > 0 || ended.aborted) return leases;
        signal?.throwIfAborted();
        // What was tried may have put other times in place.
        outlook = await look("all");
        if (ended.aborted) return [];
      }
      // Listening begins before looking again, so that what happens in between is not missed.
      const left = until - performance.now();
      const listening =
        left > 0
          ? this.#store.wakeUp.listen("tasks", { waitMs: left, dueAt: outlook.nextAt, signals: [signal, ended] })
          : undefined;
      try {
        if (listening !== undefined && (await look()).worth) {
          const leases = await attempt();
          if (leases.length > 0) return leases;
        }
        signal?.throwIfAborted();
        if (ended.aborted || listening === undefined || until <= performance.now()) return [];
        await listening.wait();
      } finally {
        listening?.stop();
      }
      signal?.throwIfAborted();
      if (ended.aborted) return [];
    }
  }

  async extend(
    leases: readonly LeaseExtension[],
    leaseMs: number,
    options: CallOptions = {},
  ): Promise<readonly LeaseState[]> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => extendLeases(tx, leases, leaseMs), options.signal, this.#life.signal);
  }

  async settle(settlements: readonly Settlement[], options: CallOptions = {}): Promise<readonly SettleState[]> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => settleAll(tx, settlements), options.signal, this.#life.signal);
  }

  async settleAndReserve(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options: CallOptions = {},
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) => ({ states: settleAll(tx, settlements), leases: reserveTasks(tx, request) }),
      options.signal,
      this.#life.signal,
    );
  }

  async cancel(ids: readonly string[], options: CallOptions = {}): Promise<readonly QueueCancelState[]> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => cancelTasks(tx, ids), options.signal, this.#life.signal);
  }

  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    return this.#store.cancels.listen(listener);
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredTask | undefined)[]> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) => getTasks(sql, ids, now));
  }

  async list(filter: TaskFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredTask>> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) => listTasks(sql, filter, page, now));
  }

  async counts(queues?: readonly string[], options: CallOptions = {}): Promise<Readonly<Record<string, QueueCounts>>> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) => countTasks(sql, queues, now));
  }

  async configureQueue(queue: string, settings: QueueSettings, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write((tx) => configure(tx, queue, settings), options.signal, this.#life.signal);
  }

  async pause(queue: string, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write((tx) => setPaused(tx, queue, true), options.signal, this.#life.signal);
  }

  async resume(queue: string, options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write((tx) => setPaused(tx, queue, false), options.signal, this.#life.signal);
  }

  async retry(ids: readonly string[], options: RetryOptions = {}): Promise<readonly RetryState[]> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => retryTasks(tx, ids, options.outcomes), options.signal, this.#life.signal);
  }

  async remove(ids: readonly string[], options: CallOptions = {}): Promise<readonly RemoveState[]> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => removeTasks(tx, ids), options.signal, this.#life.signal);
  }

  async purge(queue: string, states: readonly StoredTaskState[], options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    const condition = purgeCondition(states);
    // In steps, so that a million tasks keep neither the event loop nor the other writers waiting.
    const last = await this.#store.read(
      (sql) => sql.get<{ seq: number | null }>("SELECT max(seq) AS seq FROM {p}_tasks")?.seq ?? 0,
    );
    let removed = 0;
    for (let after: number | undefined = 0; after !== undefined;) {
      const from: number = after;
      const step = await this.#store.write(
        (tx) => purgeStep(tx, queue, condition, from, last, purgeStepSize),
        options.signal,
        this.#life.signal,
      );
      removed += step.removed;
      after = step.after;
    }
    return removed;
  }

  async unrecorded(limit: number, options: CallOptions = {}): Promise<readonly UnrecordedOutcome[]> {
    this.#life.check(options.signal);
    return this.#store.read((sql) => unrecorded(sql, limit));
  }

  async record(
    outcomes: readonly { readonly taskId: string; readonly run: number }[],
    options: CallOptions = {},
  ): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write((tx) => record(tx, outcomes), options.signal, this.#life.signal);
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    return this.#store.write((tx) => sweepTasks(tx, limit, this.#sweep), options.signal, this.#life.signal);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
