// The task queue component over an executor; waiting reserves are served first come first served.
import { OmniQError } from "@omniq/core";
import type {
  CallOptions,
  EnqueueAnswer,
  EnqueueCall,
  EnqueueOptions,
  Lease,
  LeaseExtension,
  LeaseState,
  Page,
  PageRequest,
  QueueCancelState,
  QueueCounts,
  QueueSettings,
  RemoveState,
  ReserveRequest,
  RetryOptions,
  RetryState,
  SettleState,
  Settlement,
  StoredTask,
  StoredTaskState,
  TaskFilter,
  TaskQueue,
  TaskQueueCapabilities,
  UnrecordedOutcome,
} from "@omniq/core";
import type { GrantedLease } from "./command.ts";
import type { Changes, Executor } from "./executor.ts";
import { cancellingTasks } from "./inspection.ts";
import { Lifetime, startTimer } from "./waiting.ts";
import { hasWork, nextChance } from "./wake.ts";

interface Waiter {
  readonly request: ReserveRequest;
  readonly done: (leases: readonly Lease[]) => void;
  readonly fail: (reason: unknown) => void;
  over: boolean;
}

/** How long `close` waits for leases that are on their way to nobody, so that they can be given back; the log's end has as long again. */
const giveBackMs = 1_000;

export class ReplicaTaskQueue implements TaskQueue {
  readonly component = "task-queue";
  readonly backend: object;
  readonly capabilities: TaskQueueCapabilities;
  readonly #executor: Executor;
  readonly #lifetime: Lifetime = new Lifetime("task queue");
  /** First come, first served. */
  readonly #waiters = new Set<Waiter>();
  readonly #unsubscribe: () => void;
  readonly #cancelListeners = new Set<(taskIds: readonly string[]) => void>();
  /** Reserves under way, whose leases are given back if nobody wants them any more. */
  readonly #underWay = new Set<Promise<unknown>>();
  #serving = false;
  #again = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #later = new Set<NodeJS.Timeout>();

  constructor(executor: Executor, capabilities: TaskQueueCapabilities, backend: object) {
    this.#executor = executor;
    this.capabilities = capabilities;
    this.backend = backend;
    this.#unsubscribe = executor.subscribe((changes) => {
      this.#tellCancels(changes);
      if (this.#waiters.size === 0 || (!changes.all && changes.queues.size === 0)) return;
      if (changes.pauseMs === undefined || changes.all) this.#serve();
      else this.#serveLater(changes.pauseMs);
    });
  }

  async enqueue(calls: readonly EnqueueCall[], options: EnqueueOptions = {}): Promise<readonly EnqueueAnswer[]> {
    this.#lifetime.check(options.signal);
    if (options.transaction !== undefined) {
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        "This task queue has no transactions; enqueue without `transaction`, or use PostgreSQL or SQLite",
      );
    }
    const [answers] = await this.#executor.execute([{ verb: "enqueue", calls }], options);
    return answers;
  }

  async reserve(request: ReserveRequest, options: CallOptions = {}): Promise<readonly Lease[]> {
    this.#checkLease(request.leaseMs, options.signal);
    const leases = await this.#reserveNow(request, options.signal);
    this.#lifetime.check(options.signal);
    if (leases.length > 0 || request.waitMs <= 0 || request.limit <= 0) return leases;
    return await this.#wait(request, options.signal);
  }

  async extend(
    leases: readonly LeaseExtension[],
    leaseMs: number,
    options: CallOptions = {},
  ): Promise<readonly LeaseState[]> {
    this.#checkLease(leaseMs, options.signal);
    const [states] = await this.#executor.execute([{ verb: "extend", leases, leaseMs }], options);
    return states;
  }

  async settle(settlements: readonly Settlement[], options: CallOptions = {}): Promise<readonly SettleState[]> {
    this.#lifetime.check(options.signal);
    const [states] = await this.#executor.execute([{ verb: "settle", settlements }], options);
    return states;
  }

  async settleAndReserve(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options: CallOptions = {},
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }> {
    this.#checkLease(request.leaseMs, options.signal);
    const sentAt = performance.now();
    const [states, leases] = await this.#executor.execute(
      [{ verb: "settle", settlements }, reserveCommand(request)],
      options,
    );
    return { states, leases: stamp(leases, sentAt) };
  }

  async cancel(ids: readonly string[], options: CallOptions = {}): Promise<readonly QueueCancelState[]> {
    this.#lifetime.check(options.signal);
    const [states] = await this.#executor.execute([{ verb: "cancel", ids }], options);
    return states;
  }
  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    if (this.#lifetime.closed) return () => undefined;
    const own = (taskIds: readonly string[]): void => listener(taskIds);
    this.#cancelListeners.add(own);
    this.#executor.follow?.();
    return () => void this.#cancelListeners.delete(own);
  }
  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredTask | undefined)[]> {
    this.#lifetime.check(options.signal);
    const [tasks] = await this.#executor.execute([{ verb: "getTasks", ids }], options);
    return tasks;
  }
  async list(filter: TaskFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredTask>> {
    this.#lifetime.check(options.signal);
    const [tasks] = await this.#executor.execute([{ verb: "listTasks", filter, page }], options);
    return tasks;
  }
  async counts(queues?: readonly string[], options: CallOptions = {}): Promise<Readonly<Record<string, QueueCounts>>> {
    this.#lifetime.check(options.signal);
    const [counts] = await this.#executor.execute([{ verb: "counts", queues }], options);
    return counts;
  }
  async configureQueue(queue: string, settings: QueueSettings, options: CallOptions = {}): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "configureQueue", queue, settings }], options);
  }
  async pause(queue: string, options: CallOptions = {}): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "pause", queue }], options);
  }
  async resume(queue: string, options: CallOptions = {}): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "resume", queue }], options);
  }
  async retry(ids: readonly string[], options: RetryOptions = {}): Promise<readonly RetryState[]> {
    this.#lifetime.check(options.signal);
    const { outcomes } = options;
    const [states] = await this.#executor.execute([{ verb: "retry", ids, outcomes }], options);
    return states;
  }
  async remove(ids: readonly string[], options: CallOptions = {}): Promise<readonly RemoveState[]> {
    this.#lifetime.check(options.signal);
    const [states] = await this.#executor.execute([{ verb: "remove", ids }], options);
    return states;
  }
  async purge(queue: string, states: readonly StoredTaskState[], options: CallOptions = {}): Promise<number> {
    this.#lifetime.check(options.signal);
    const [removed] = await this.#executor.execute([{ verb: "purge", queue, states }], options);
    return removed;
  }
  async unrecorded(limit: number, options: CallOptions = {}): Promise<readonly UnrecordedOutcome[]> {
    this.#lifetime.check(options.signal);
    const [outcomes] = await this.#executor.execute([{ verb: "unrecorded", limit }], options);
    return outcomes;
  }
  async record(
    outcomes: readonly { readonly taskId: string; readonly run: number }[],
    options: CallOptions = {},
  ): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "record", outcomes }], options);
  }
  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#lifetime.check(options.signal);
    const [changed] = await this.#executor.execute([{ verb: "sweep", limit }], options);
    return changed;
  }

  async close(): Promise<void> {
    this.#lifetime.end();
    this.#unsubscribe();
    this.#cancelListeners.clear();
    clearTimeout(this.#timer);
    for (const timer of this.#later) clearTimeout(timer);
    if (this.#underWay.size === 0) return;
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise((resolve) => (timer = setTimeout(resolve, giveBackMs)));
    await Promise.race([Promise.all(this.#underWay), enough]);
    clearTimeout(timer);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #checkLease(leaseMs: number, signal: AbortSignal | undefined): void {
    this.#lifetime.check(signal);
    if (leaseMs >= this.capabilities.minimumLeaseMs) return;
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      `leaseMs is ${leaseMs}; this task queue gives leases of at least ${this.capabilities.minimumLeaseMs} ms`,
    );
  }

  #tellCancels(changes: Changes): void {
    if (this.#cancelListeners.size === 0) return;
    // Loaded anew, what happened meanwhile stands in the state alone.
    const taskIds = changes.all ? cancellingTasks(this.#executor.view()) : [...changes.cancels];
    if (taskIds.length === 0) return;
    for (const listener of [...this.#cancelListeners]) {
      try {
        listener(taskIds);
      } catch {
        // A hint: whoever fails to take it hears of the cancel at its next heartbeat.
      }
    }
  }

  /** One reserve. Aborted or closed, it rejects at once, and what it may still bring is given back. */
  async #reserveNow(request: ReserveRequest, signal?: AbortSignal): Promise<readonly Lease[]> {
    const { queues } = request;
    if (!hasWork(this.#executor.view(), queues, this.#executor.now())) {
      // A look costs no commit; but it must know all that was acknowledged before, to anyone.
      await this.#executor.execute([{ verb: "counts", queues: [] }], { signal });
      this.#lifetime.check(signal);
      if (!hasWork(this.#executor.view(), queues, this.#executor.now())) return [];
    }
    const sentAt = performance.now();
    const asked = this.#executor.execute([reserveCommand(request)]);
    let wanted = true;
    const done = asked.then(async ([leases]) => {
      if (!wanted && leases.length > 0) await this.#giveBack(stamp(leases, sentAt));
    });
    this.#track(done);
    return await new Promise<readonly Lease[]>((resolve, reject) => {
      const forgetEnd = this.#lifetime.onEnd(signal, (reason) => {
        wanted = false;
        forgetEnd();
        reject(reason as Error);
      });
      asked.then(
        ([leases]) => {
          forgetEnd();
          resolve(stamp(leases, sentAt));
        },
        (error: unknown) => {
          forgetEnd();
          reject(error as Error);
        },
      );
    });
  }
  #track(work: Promise<unknown>): void {
    const tracked: Promise<unknown> = work
      .catch(() => undefined)
      .finally(() => {
        this.#underWay.delete(tracked);
      });
    this.#underWay.add(tracked);
  }

  #wait(request: ReserveRequest, signal: AbortSignal | undefined): Promise<readonly Lease[]> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        waiter.over = true;
        this.#waiters.delete(waiter);
        clearTimeout(timeout);
        forgetEnd();
      };
      const waiter: Waiter = {
        request,
        over: false,
        done: (leases) => {
          finish();
          resolve(leases);
        },
        fail: (reason) => {
          finish();
          reject(reason as Error);
        },
      };
      const timeout = startTimer(request.waitMs, () => waiter.done([]));
      const forgetEnd = this.#lifetime.onEnd(signal, waiter.fail);
      if (this.#lifetime.closed)
        waiter.fail(new OmniQError("OMNIQ_CLOSED", "The task queue is closed; make a new one to go on"));
      else if (signal?.aborted === true) waiter.fail(signal.reason);
      else {
        this.#waiters.add(waiter);
        this.#serve();
      }
    });
  }

  /** An idle crowd: others go first, and mostly leave nothing. */
  #serveLater(pauseMs: number): void {
    const timer = setTimeout(() => {
      this.#later.delete(timer);
      this.#serve();
    }, pauseMs);
    this.#later.add(timer);
  }

  /** Serves the waiters for whom something may be ready, then sleeps until the next time at which that may be so. */
  #serve(): void {
    this.#again = true;
    if (this.#serving) return;
    this.#serving = true;
    clearTimeout(this.#timer);
    void this.#serveAll().finally(() => {
      this.#serving = false;
      if (this.#again) this.#serve();
    });
  }

  async #serveAll(): Promise<void> {
    // Let what the change was part of finish first: tasks enqueued together are then reserved together.
    await Promise.resolve();
    this.#again = false;
    let next: number | undefined;
    const tried = new Set<string>();
    for (const waiter of [...this.#waiters]) {
      if (waiter.over) continue;
      const key = JSON.stringify(waiter.request.queues);
      const now = this.#executor.now();
      let chance = tried.has(key) ? undefined : nextChance(this.#executor.view(), waiter.request.queues, now);
      if (chance !== undefined && chance <= now) {
        const served = await this.#tryServe(waiter);
        // Whoever waits for the same queues gets nothing either, until something changes.
        if (!served) tried.add(key);
        chance = nextChance(this.#executor.view(), waiter.request.queues, this.#executor.now());
      }
      if (chance !== undefined && (next === undefined || chance < next)) next = chance;
    }
    if (this.#waiters.size === 0 || this.#again || this.#lifetime.closed) return;
    const recheckMs = this.#executor.recheckMs;
    // A chance that was none, as the store's clock is a little behind ours: not again at once.
    const left = next === undefined ? undefined : next - this.#executor.now();
    const delay = left !== undefined && left <= 0 ? 10 : left;
    const wait = recheckMs === undefined ? delay : Math.min(recheckMs, delay ?? recheckMs);
    if (wait !== undefined) this.#timer = startTimer(wait, () => this.#serve());
  }

  async #tryServe(waiter: Waiter): Promise<boolean> {
    try {
      const leases = await this.#reserveNow(waiter.request);
      if (leases.length === 0) return false;
      if (waiter.over) this.#track(this.#giveBack(leases));
      else waiter.done(leases);
      return true;
    } catch (error) {
      waiter.fail(error);
      return false;
    }
  }

  /** Leases that came after their waiter had given up: it takes nothing. */
  async #giveBack(leases: readonly Lease[]): Promise<void> {
    await this.#executor.execute([
      { verb: "settle", settlements: leases.map((lease) => ({ ...lease, outcome: "release" as const })) },
    ]);
  }
}

function reserveCommand(request: ReserveRequest) {
  const { queues, limit, leaseMs, worker, maxBytes } = request;
  return { verb: "reserve", queues, limit, leaseMs, worker, maxBytes } as const;
}
function stamp(leases: readonly GrantedLease[], sentAt: number): readonly Lease[] {
  return leases.map((lease) => ({ ...lease, sentAt }));
}
