// The heart of a worker: what it holds, what runs, and how each execution ends.
import type { Lease, SettleState } from "../contracts/index.ts";
import { OmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { DrainSummary } from "../worker.ts";
import { Collector } from "./collector.ts";
import { WorkerContextHost } from "./context-host.ts";
import { type Ending, type Item } from "./ending.ts";
import { EventWriter } from "./event-writer.ts";
import { Execution } from "./execution.ts";
import { errorText, retryDelayMs, timedOut, type Failure } from "./failures.ts";
import { HeartbeatThread } from "./heartbeat-thread.ts";
import { Heartbeats, leaseLost } from "./heartbeats.ts";
import type { ResolvedWorkerOptions } from "./options.ts";
import { Prefetch } from "./prefetch.ts";
import { endingEvent, Pump, type PumpHost } from "./pump.ts";
import type { Registry } from "./registry.ts";
import type { RemotePool } from "./remote-pool.ts";
import { Runner } from "./runner.ts";
import { lookForResults } from "./stored-results.ts";
import { sleep } from "./sleep.ts";

/** A prefetched task that has waited so long behind others goes back, so that another worker can have it. */
const patienceMs = 1_000;

export class Engine implements PumpHost {
  readonly runtime: Runtime;
  readonly options: ResolvedWorkerOptions;
  readonly registry: Registry;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  readonly name: string;
  readonly events: EventWriter | undefined;
  readonly contexts: WorkerContextHost;
  readonly maxValueBytes: number;
  readonly #pump: Pump;
  readonly #runner: Runner;
  readonly #heartbeats: Heartbeats;
  #thread: HeartbeatThread | undefined;
  readonly #prefetch: Prefetch;
  readonly #collectors = new Map<string, Collector>();
  readonly #batchRoom: number;
  readonly #held = new Set<Execution>();
  #waiting: Execution[] = [];
  #waitingStart = 0;
  /** Executions that count against the room: waiting and running, not those on their way out. */
  #active = 0;
  #slots = 0;
  #starting = false;
  #mode: "wait" | "drain" | "stop" = "stop";
  #counts = { completed: 0, retried: 0, failed: 0, cancelled: 0 };
  #watch: NodeJS.Timeout | undefined;
  #watchAt = Number.POSITIVE_INFINITY;
  #hooks = 0;

  constructor(runtime: Runtime, options: ResolvedWorkerOptions, registry: Registry, pool: RemotePool | undefined) {
    this.runtime = runtime;
    this.options = options;
    this.registry = registry;
    this.queues = options.queues ?? [
      ...new Set([...registry.values()].map((definition) => definition.options.queue ?? "default")),
    ];
    this.leaseMs = options.leaseMs;
    this.name = options.name;
    const { taskQueue, resultStorage, eventStorage, logger } = runtime;
    this.maxValueBytes = Math.min(
      taskQueue.capabilities.maxPayloadBytes,
      resultStorage?.capabilities.maxValueBytes ?? Number.POSITIVE_INFINITY,
    );
    this.events = eventStorage === undefined ? undefined : new EventWriter(eventStorage, logger);
    this.contexts = new WorkerContextHost(runtime, this.events);
    this.#prefetch = new Prefetch(options.concurrency);
    this.#pump = new Pump(this);
    this.#runner = new Runner(this, pool);
    this.#heartbeats = new Heartbeats({
      taskQueue,
      leaseMs: options.leaseMs,
      logger,
      held: () => this.#held,
      lost: (execution) => this.#lost(execution),
      cancelled: (execution) => this.#cancelled(execution),
    });
    let batchRoom = 0;
    for (const definition of registry.values()) {
      if (definition.handler.kind !== "batch") continue;
      this.#collectors.set(definition.name, new Collector(definition, () => this.#startWaiting()));
      batchRoom += definition.handler.options.maxSize;
    }
    this.#batchRoom = batchRoom;
  }

  // --- life ---

  begin(mode: "wait" | "drain"): void {
    const { runtime, options } = this;
    this.#mode = mode;
    this.#heartbeats.start();
    if (runtime.remote !== undefined && runtime.taskQueue.capabilities.remoteHeartbeats) {
      this.#thread ??= new HeartbeatThread(runtime.remote, options.leaseMs, runtime.logger, () => this.#held);
    }
    this.#pump.kick();
  }
  /** Works until nothing is ready. */
  async drained(): Promise<void> {
    await this.#pump.drained();
  }
  /** Takes no more, and gives back what has not started. */
  rest(): void {
    this.#mode = "stop";
    this.#pump.interrupt();
    for (const collector of this.#collectors.values())
      for (const execution of collector.empty()) this.end(execution, { kind: "release" });
    for (const execution of this.#takeWaiting()) this.end(execution, { kind: "release" });
  }
  /** Resolves when all that runs has ended and is settled, or after `waitMs`; says whether it has. */
  async settle(waitMs: number, signal?: AbortSignal): Promise<boolean> {
    const end = performance.now() + waitMs;
    while (!this.#quiet && performance.now() < end && signal?.aborted !== true)
      await sleep(Math.min(5, waitMs), signal);
    return this.#quiet;
  }
  get #quiet(): boolean {
    return this.#held.size === 0 && this.#pump.quiet && this.#hooks === 0;
  }
  /** Aborts what still runs and releases it. */
  release(): void {
    for (const execution of [...this.#held]) {
      if (execution.phase !== "running" && execution.phase !== "waiting") continue;
      const { taskId, task } = execution.lease;
      execution.abort(
        new OmniQError("OMNIQ_CLOSED", `The worker stops; ${taskId} (${task.name}) will run again`, { taskId }),
      );
      this.end(execution, { kind: "release" });
    }
  }
  /** Lets go of timers and threads. */
  async finish(): Promise<void> {
    this.#heartbeats.stop();
    clearTimeout(this.#watch);
    this.#watch = undefined;
    this.#watchAt = Number.POSITIVE_INFINITY;
    await this.events?.flush(2_000);
    const thread = this.#thread;
    this.#thread = undefined;
    await thread?.stop();
  }
  /** After `finish`: gives up what could not be settled. */
  abandon(): void {
    this.#pump.abandon();
    this.events?.close();
  }
  takeCounts(): DrainSummary {
    const counts = this.#counts;
    this.#counts = { completed: 0, retried: 0, failed: 0, cancelled: 0 };
    return counts;
  }

  // --- for the pump ---

  mode(): "wait" | "drain" | "stop" {
    return this.#mode;
  }
  capacity(): number {
    return this.options.concurrency + this.#prefetch.size + this.#batchRoom;
  }
  room(): number {
    return this.capacity() - this.#active;
  }
  held(): number {
    return this.#held.size + this.#hooks;
  }
  roundTrip(ms: number): void {
    this.#prefetch.roundTripTook(ms);
  }
  closed(): void {
    this.#mode = "stop";
    for (const execution of [...this.#held]) this.#lost(execution);
    this.#pump.abandon();
  }

  leased(leases: readonly Lease[], now: number, wallNow: number): void {
    const { resultStorage, resultsTogether } = this.runtime;
    const elsewhere = resultStorage !== undefined && !resultsTogether;
    const executions: Execution[] = [];
    const redelivered: Execution[] = [];
    for (const lease of leases) {
      const execution = new Execution(lease, this.registry.get(lease.task.name), this.leaseMs, now, wallNow);
      this.#held.add(execution);
      this.#active += 1;
      executions.push(execution);
      if (elsewhere && lease.task.expiries > 0) redelivered.push(execution);
      else this.#waiting.push(execution);
    }
    // Before any handler starts, since the first may block the event loop.
    this.#thread?.add(executions);
    if (this.#mode === "stop") {
      this.rest();
      return;
    }
    if (redelivered.length > 0) void this.#lookForResults(redelivered);
    this.#watchFor(now + patienceMs);
    this.#startWaiting();
  }

  async #lookForResults(executions: readonly Execution[]): Promise<void> {
    await lookForResults(this.runtime, executions, {
      stopping: () => this.#mode === "stop",
      found: (execution, ending) => this.end(execution, ending),
      missing: (execution) => this.#waiting.push(execution),
    });
    if (this.#mode === "stop") this.rest();
    else this.#startWaiting();
  }

  settled(item: Item, state: SettleState): void {
    const { execution, ending } = item;
    this.#forget(execution);
    if (state === "lost") {
      this.runtime.logger.warn("A task's lease was lost before its outcome was settled", {
        taskId: execution.lease.taskId,
        outcome: ending.kind,
      });
      return;
    }
    if (this.events !== undefined && !this.runtime.eventsTogether) {
      this.events.addAll([...this.events.take(execution), endingEvent(this.runtime, item)]);
    }
    const { onCompleted, onRetry, onFailed } = this.options;
    switch (ending.kind) {
      case "completed":
        this.#counts.completed += 1;
        if (onCompleted !== undefined)
          this.#hook(execution, () => onCompleted(execution.context(this.contexts), ending.output()));
        break;
      case "retry":
        this.#counts.retried += 1;
        if (onRetry !== undefined)
          this.#hook(execution, () =>
            onRetry(execution.context(this.contexts), ending.error, Date.now() + ending.delayMs),
          );
        break;
      case "failed":
        this.#counts.failed += 1;
        if (onFailed !== undefined)
          this.#hook(execution, () => onFailed(execution.context(this.contexts), ending.error));
        break;
      case "cancelled":
        this.#counts.cancelled += 1;
    }
  }
  #hook(execution: Execution, call: () => void | Promise<void>): void {
    this.#hooks += 1;
    const run = async (): Promise<void> => {
      try {
        await call();
      } catch (error) {
        this.runtime.logger.error("A hook of the worker failed; the task's outcome stands", {
          taskId: execution.lease.taskId,
          error,
        });
      } finally {
        this.#hooks -= 1;
        if (this.#mode === "drain") this.#pump.kick();
      }
    };
    void run();
  }

  // --- starting ---

  #takeWaiting(): readonly Execution[] {
    const waiting = this.#waiting.slice(this.#waitingStart);
    this.#waiting = [];
    this.#waitingStart = 0;
    return waiting;
  }

  #startWaiting(): void {
    // A handler that ends within its start frees its slot from inside this loop, which then goes on by itself.
    if (this.#starting) return;
    this.#starting = true;
    try {
      this.#startAll();
    } finally {
      this.#starting = false;
    }
  }
  #startAll(): void {
    const { concurrency } = this.options;
    for (;;) {
      if (this.#slots < concurrency) {
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
      if (!batch && this.#slots >= concurrency) return;
      this.#waitingStart += 1;
      if (this.#waitingStart > 1_024) {
        this.#waiting = this.#waiting.slice(this.#waitingStart);
        this.#waitingStart = 0;
      }
      if (next.phase !== "waiting" || !this.#mayStart(next)) continue;
      if (batch) this.#collectors.get(next.lease.task.name)?.add(next);
      else this.#start(next);
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
      this.end(execution, { kind: "cancelled" });
      return false;
    }
    if (execution.overdue(now, Date.now())) {
      this.end(execution, { kind: "release" });
      return false;
    }
    if (task.expiresAt !== undefined) {
      // The store's clock: what it said when it gave the lease, and the time since.
      const reservedAt = execution.lease.deadline - this.leaseMs;
      const firstStart = task.startedAt === undefined || task.startedAt >= reservedAt;
      if (
        firstStart &&
        reservedAt + (now - execution.lease.sentAt) >= task.expiresAt &&
        now - execution.heldSince > 1
      ) {
        this.end(execution, { kind: "release" });
        return false;
      }
    }
    return true;
  }

  #start(execution: Execution): void {
    this.#slots += 1;
    execution.slot = { free: false };
    this.#started(execution);
    this.#runner.single(execution);
  }
  #startBatch(collector: Collector): void {
    const batch = collector.take().filter((execution) => execution.phase === "waiting" && this.#mayStart(execution));
    if (batch.length === 0) return;
    this.#slots += 1;
    const slot = { free: false };
    for (const execution of batch) {
      execution.slot = slot;
      this.#started(execution);
    }
    this.#runner.batch(collector.definition, batch);
  }
  #started(execution: Execution): void {
    execution.phase = "running";
    const now = performance.now();
    execution.startedAt = now;
    const { timeoutMs } = execution.envelope;
    if (timeoutMs !== null) {
      execution.timeoutAt = now + timeoutMs;
      this.#watchFor(execution.timeoutAt);
    }
    if (this.events !== undefined) {
      const { lease } = execution;
      this.events.add(
        execution,
        this.runtime.event("started", {
          id: lease.taskId,
          name: lease.task.name,
          queue: lease.queue,
          run: lease.run,
          attempt: lease.attempt,
        }),
      );
    }
  }

  // --- ending ---

  /** Decides how an execution ends. The first decision stands. */
  end(execution: Execution, ending: Ending): void {
    if (execution.phase === "ended" || execution.phase === "over") return;
    if (execution.phase === "running") {
      this.#prefetch.handlerTook(performance.now() - execution.startedAt);
    }
    execution.phase = "ended";
    this.#active -= 1;
    this.#pump.push({ execution, ending, settlement: undefined });
    this.#freeSlot(execution);
  }
  /** A failed attempt: tried again, dead, or cancelled where that was asked for. */
  fail(execution: Execution, failure: Failure): void {
    if (execution.phase === "ended" || execution.phase === "over") return;
    if (execution.cancelling) {
      this.end(execution, { kind: "cancelled" });
      return;
    }
    const { aborted } = execution;
    if (aborted !== undefined && (aborted.code === "OMNIQ_LEASE_LOST" || aborted.code === "OMNIQ_CLOSED")) {
      // It was told to stop through no fault of its own: the attempt is given back.
      this.end(execution, { kind: "release" });
      return;
    }
    const { lease, envelope } = execution;
    const text = errorText(this.runtime.serializer, failure.error, this.maxValueBytes);
    if (failure.permanent || lease.attempt >= lease.task.maxAttempts)
      this.end(execution, { kind: "failed", error: failure.error, text });
    else
      this.end(execution, {
        kind: "retry",
        error: failure.error,
        text,
        delayMs: failure.delayMs ?? retryDelayMs(envelope.retry, lease.attempt),
      });
  }
  /** The handler let go, whatever became of its tasks. */
  freed(slot: { free: boolean } | undefined): void {
    if (slot === undefined || slot.free) return;
    slot.free = true;
    this.#slots -= 1;
    this.#startWaiting();
  }
  #freeSlot(execution: Execution): void {
    const { slot } = execution;
    if (slot === undefined || slot.free) return;
    if (execution.definition?.handler.kind === "batch") {
      for (const other of this.#held) if (other.slot === slot && other.phase === "running") return;
    }
    this.freed(slot);
  }
  #forget(execution: Execution): void {
    if (execution.phase === "over") return;
    if (execution.phase !== "ended") this.#active -= 1;
    execution.phase = "over";
    this.#held.delete(execution);
    this.#thread?.drop(execution);
    this.#freeSlot(execution);
  }
  #lost(execution: Execution): void {
    // One that has ended finds out by its settlement, which may have been answered already.
    if (execution.phase === "ended" || execution.phase === "over") return;
    execution.abort(leaseLost(execution));
    this.runtime.logger.warn("A task's lease was lost while it ran; another worker may run it", {
      taskId: execution.lease.taskId,
    });
    this.#forget(execution);
    this.#pump.kick();
  }
  #cancelled(execution: Execution): void {
    if (execution.phase === "waiting") {
      this.end(execution, { kind: "cancelled" });
      return;
    }
    const { taskId, task } = execution.lease;
    execution.abort(
      new OmniQError("OMNIQ_TASK_CANCELLED", `The task ${taskId} (${task.name}) was cancelled`, { taskId }),
    );
  }

  // --- time: one timer for all ---

  #watchFor(at: number): void {
    if (at >= this.#watchAt) return;
    this.#watchAt = at;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(
      () => this.#look(),
      Math.min(Math.max(1, Math.ceil(at - performance.now())), 2_147_483_647),
    );
  }
  #look(): void {
    this.#watchAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const wall = Date.now();
    let next = Number.POSITIVE_INFINITY;
    for (const execution of [...this.#held]) {
      if (execution.phase === "waiting") {
        if (now - execution.heldSince < patienceMs) next = Math.min(next, execution.heldSince + patienceMs);
        else if (
          execution.slot === undefined &&
          execution.definition?.handler.kind === "single" &&
          execution.lease.task.expiries === 0
        ) {
          this.end(execution, { kind: "release" });
        }
        continue;
      }
      if (execution.phase !== "running") continue;
      if (execution.aborted === undefined && execution.overdue(now, wall)) execution.abort(leaseLost(execution));
      if (now >= execution.timeoutAt) this.#timeOut(execution);
      else next = Math.min(next, execution.timeoutAt);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#watchFor(next);
  }
  #timeOut(execution: Execution): void {
    const { taskId, task } = execution.lease;
    const timeout = new OmniQError(
      "OMNIQ_TIMEOUT",
      `The task ${taskId} (${task.name}) ran for longer than its ${execution.envelope.timeoutMs} ms`,
      { taskId },
    );
    execution.abort(timeout);
    this.fail(execution, timedOut({ id: taskId, name: task.name }, timeout));
  }
}
