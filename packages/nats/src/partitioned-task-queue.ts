// The task queue over several logs: each queue is in one of them; verbs by id ask all.
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
  RetryOptions,
  ReserveRequest,
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
import { firstOf, pageOver, type Partitions } from "./partitions.ts";

/**
 * - A call is of one partition, and so is what its tasks depend on; else `OMNIQ_UNSUPPORTED`, nothing of the calls stored.
 * - Ids are unique in a partition: the same id in queues of two partitions is two tasks, and verbs by id concern both.
 * - Lists go through one partition after the other, in enqueue order in each.
 */
export class PartitionedTaskQueue implements TaskQueue {
  readonly component = "task-queue";
  readonly backend: object;
  readonly capabilities: TaskQueueCapabilities;
  readonly #parts: readonly TaskQueue[];
  readonly #partitions: Partitions;

  constructor(parts: readonly TaskQueue[], partitions: Partitions, backend: object) {
    this.#parts = parts;
    this.#partitions = partitions;
    this.capabilities = this.#of("").capabilities;
    this.backend = backend;
  }

  async enqueue(calls: readonly EnqueueCall[], options: EnqueueOptions = {}): Promise<readonly EnqueueAnswer[]> {
    for (const { tasks } of calls) {
      if (new Set(tasks.map(({ queue }) => this.#partitions.of(queue))).size > 1)
        throw apart("The tasks of one call are in queues of several partitions; enqueue them by calls of their own");
    }
    await this.#checkDependencies(calls, options);
    return await this.#partitions.spread(
      calls,
      ({ tasks }) => tasks[0]?.queue ?? "",
      (partition, own) => this.#part(partition).enqueue(own, options),
    );
  }

  async reserve(request: ReserveRequest, options: CallOptions = {}): Promise<readonly Lease[]> {
    const runs = this.#runs(request.queues);
    if (runs.length <= 1) return await this.#of(request.queues[0] ?? "").reserve(request, options);
    const leases: Lease[] = [];
    for (const { part, queues } of runs) {
      const limit = request.limit - leases.length;
      const maxBytes = request.maxBytes === undefined ? undefined : request.maxBytes - bytesOf(leases);
      // A partition that is asked gives at least one, whatever its size.
      if (limit <= 0 || (maxBytes !== undefined && maxBytes <= 0)) break;
      try {
        leases.push(...(await part.reserve({ ...request, queues, limit, maxBytes, waitMs: 0 }, options)));
      } catch (error) {
        if (leases.length === 0) throw error;
        // Whoever asks no longer wants them; else what the earlier partitions gave is worth more than the error, which comes again.
        if (options.signal?.aborted !== true) return leases;
        await this.#giveBack(leases).catch(() => {});
        throw error;
      }
    }
    if (leases.length > 0 || request.waitMs <= 0 || request.limit <= 0) return leases;
    const found = await firstOf(
      runs.map(
        ({ part, queues }) =>
          (signal: AbortSignal) =>
            part.reserve({ ...request, queues }, { ...options, signal }),
      ),
      options.signal,
    );
    // Two partitions may have answered at once. What is too much goes back, at no cost to the task.
    const kept = within(found, request);
    if (kept < found.length) await this.#giveBack(found.slice(kept));
    return found.slice(0, kept);
  }

  async extend(
    leases: readonly LeaseExtension[],
    leaseMs: number,
    options: CallOptions = {},
  ): Promise<readonly LeaseState[]> {
    return await this.#partitions.spread(
      leases,
      ({ queue }) => queue,
      (partition, own) => this.#part(partition).extend(own, leaseMs, options),
    );
  }

  async settle(settlements: readonly Settlement[], options: CallOptions = {}): Promise<readonly SettleState[]> {
    return await this.#partitions.spread(
      settlements,
      ({ queue }) => queue,
      (partition, own) => this.#part(partition).settle(own, options),
    );
  }

  async settleAndReserve(
    settlements: readonly Settlement[],
    request: ReserveRequest,
    options: CallOptions = {},
  ): Promise<{ readonly states: readonly SettleState[]; readonly leases: readonly Lease[] }> {
    const concerned = new Set(
      [...settlements.map(({ queue }) => queue), ...request.queues].map((queue) => this.#of(queue)),
    );
    const [only] = concerned;
    if (concerned.size === 1 && only?.settleAndReserve !== undefined)
      return await only.settleAndReserve(settlements, request, options);
    const states = await this.settle(settlements, options);
    // What has taken effect must be told, whatever becomes of the rest.
    const leases = await this.reserve({ ...request, waitMs: 0 }, options).catch(() => []);
    return { states, leases };
  }

  async cancel(ids: readonly string[], options: CallOptions = {}): Promise<readonly QueueCancelState[]> {
    const answers = await this.#all((part) => part.cancel(ids, options));
    return byId(ids, answers, (state) => state !== "unknown", "unknown");
  }
  onCancel(listener: (taskIds: readonly string[]) => void): () => void {
    const stops = this.#parts.map((part) => part.onCancel?.(listener));
    return () => {
      for (const stop of stops) stop?.();
    };
  }
  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredTask | undefined)[]> {
    const answers = await this.#all((part) => part.get(ids, options));
    return byId(ids, answers, (task) => task !== undefined, undefined);
  }
  async list(filter: TaskFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredTask>> {
    if (filter.queue !== undefined) return await this.#of(filter.queue).list(filter, page, options);
    return await pageOver(this.#parts.length, page, (partition, inner) =>
      this.#part(partition).list(filter, inner, options),
    );
  }
  async counts(queues?: readonly string[], options: CallOptions = {}): Promise<Readonly<Record<string, QueueCounts>>> {
    const all =
      queues === undefined
        ? await this.#all((part) => part.counts(undefined, options))
        : await Promise.all(this.#runs(queues).map((run) => run.part.counts(run.queues, options)));
    return Object.fromEntries(all.flatMap((counts) => Object.entries(counts)));
  }
  async configureQueue(queue: string, settings: QueueSettings, options: CallOptions = {}): Promise<void> {
    await this.#of(queue).configureQueue(queue, settings, options);
  }
  async pause(queue: string, options: CallOptions = {}): Promise<void> {
    await this.#of(queue).pause(queue, options);
  }
  async resume(queue: string, options: CallOptions = {}): Promise<void> {
    await this.#of(queue).resume(queue, options);
  }
  async retry(ids: readonly string[], options: RetryOptions = {}): Promise<readonly RetryState[]> {
    const answers = await this.#all((part) => part.retry(ids, options));
    return byId(ids, answers, (state) => state !== "unknown", "unknown");
  }
  async remove(ids: readonly string[], options: CallOptions = {}): Promise<readonly RemoveState[]> {
    const answers = await this.#all((part) => part.remove(ids, options));
    // The same id may be a task in one partition, and only remembered in another.
    const there = byId(ids, answers, (state) => state === "removed" || state === "busy", "unknown");
    const freed = byId(ids, answers, (state) => state === "freed", "unknown");
    return there.map((state, index) => (state === "unknown" ? (freed[index] as RemoveState) : state));
  }
  async purge(queue: string, states: readonly StoredTaskState[], options: CallOptions = {}): Promise<number> {
    return await this.#of(queue).purge(queue, states, options);
  }
  async unrecorded(limit: number, options: CallOptions = {}): Promise<readonly UnrecordedOutcome[]> {
    return (await this.#all((part) => part.unrecorded(limit, options))).flat().slice(0, limit);
  }
  async record(
    outcomes: readonly { readonly taskId: string; readonly run: number }[],
    options: CallOptions = {},
  ): Promise<void> {
    await this.#all((part) => part.record(outcomes, options));
  }
  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    const changed = await this.#all((part) => part.sweep(limit, options));
    return changed.reduce((sum, count) => sum + count, 0);
  }

  async close(): Promise<void> {
    await this.#all((part) => part.close());
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #giveBack(leases: readonly Lease[]): Promise<void> {
    await this.settle(leases.map((lease) => ({ ...lease, outcome: "release" as const })));
  }
  #part(partition: number): TaskQueue {
    return this.#parts[partition] as TaskQueue;
  }
  #of(queue: string): TaskQueue {
    return this.#part(this.#partitions.of(queue));
  }
  #all<A>(work: (part: TaskQueue) => Promise<A>): Promise<A[]> {
    return Promise.all(this.#parts.map(work));
  }

  /** The queues in their order, those that follow each other in one partition together. */
  #runs(queues: readonly string[]): readonly { readonly part: TaskQueue; readonly queues: readonly string[] }[] {
    const runs: { readonly part: TaskQueue; readonly queues: string[] }[] = [];
    for (const queue of queues) {
      const part = this.#of(queue);
      const last = runs.at(-1);
      if (last?.part === part) last.queues.push(queue);
      else runs.push({ part, queues: [queue] });
    }
    return runs;
  }

  /** Looks at other partitions only for what is not in the call nor in its own partition. */
  async #checkDependencies(calls: readonly EnqueueCall[], options: CallOptions): Promise<void> {
    for (const { tasks } of calls) {
      const own = new Set(tasks.map(({ id }) => id));
      const outside = tasks
        .flatMap(({ dependencies }) => dependencies ?? [])
        .filter(({ taskId, outcome }) => outcome === undefined && !own.has(taskId))
        .map(({ taskId }) => taskId);
      if (outside.length === 0) continue;
      const home = this.#of(tasks[0]?.queue ?? "");
      const here = await home.get(outside, options);
      const missing = outside.filter((_, index) => here[index] === undefined);
      if (missing.length === 0) continue;
      const elsewhere = byId(
        missing,
        await this.#all((part) => part.get(missing, options)),
        (task) => task !== undefined,
        undefined,
      );
      const found = elsewhere.find((task) => task !== undefined);
      if (found !== undefined) {
        throw apart(
          `A task of queue ${JSON.stringify(tasks[0]?.queue)} can't depend on one of queue ${JSON.stringify(found.queue)}, ` +
            "which is in another partition; list both queues in one partition",
        );
      }
    }
  }
}

/** About how many bytes of payloads and dependencies' values are in leases. */
function bytesOf(leases: readonly Lease[]): number {
  const values = leases.flatMap(({ task, dependencies }) => [task.payload, ...dependencies.map(({ value }) => value)]);
  return values.reduce((bytes, value) => bytes + Buffer.byteLength(value ?? ""), 0);
}
/** How many of these leases a request lets through: at least one. */
function within(leases: readonly Lease[], { limit, maxBytes = Number.POSITIVE_INFINITY }: ReserveRequest): number {
  let count = Math.min(1, leases.length);
  while (count < Math.min(limit, leases.length) && bytesOf(leases.slice(0, count + 1)) <= maxBytes) count++;
  return count;
}

function apart(what: string): OmniQError {
  return new OmniQError("OMNIQ_UNSUPPORTED", what);
}

/** For each id the answer of the first partition that knows it. */
function byId<A>(
  ids: readonly string[],
  answers: readonly (readonly A[])[],
  known: (answer: A) => boolean,
  none: A,
): A[] {
  return ids.map((_, index) => {
    const found = answers.find((own) => known(own[index] as A));
    return found === undefined ? none : (found[index] as A);
  });
}
