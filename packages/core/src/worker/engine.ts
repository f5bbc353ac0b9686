// The heart of a worker: what it holds, what runs, and how each execution ends.
import type { Lease, SettleState } from "../contracts/index.ts";
import { OmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { DrainSummary } from "../worker.ts";
import { Aftermath } from "./aftermath.ts";
import { Collector } from "./collector.ts";
import { WorkerContextHost } from "./context-host.ts";
import { Deadlines } from "./deadlines.ts";
import type { Ending, Item } from "./ending.ts";
import { EventWriter } from "./event-writer.ts";
import { Execution } from "./execution.ts";
import { errorText, retryDelayMs, type Failure } from "./failures.ts";
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
  readonly #deadlines: Deadlines;
  readonly #aftermath: Aftermath;
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
    this.#deadlines = new Deadlines({
      held: () => this.#held,
      end: (execution, ending) => this.end(execution, ending),
      fail: (execution, failure) => this.fail(execution, failure),
    });
    this.#aftermath = new Aftermath(options, this.contexts, logger, () => {
      if (this.#mode === "drain") this.#pump.kick();
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
    return this.#held.size === 0 && this.#pump.quiet && this.#aftermath.running === 0;
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
    this.#deadlines.stop();
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
    return this.#aftermath.takeCounts();
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
    return this.#held.size + this.#aftermath.running;
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
    this.#deadlines.came(now);
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
    this.#aftermath.of(item);
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
      this.#deadlines.watch(execution.timeoutAt);
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
}
