// The heart of a worker: what it holds, who sees to what, and how each execution ends.
import type { Lease, SettleState } from "../contracts/index.ts";
import { OmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { DrainSummary } from "../worker.ts";
import { endingEvent } from "./admission.ts";
import { Aftermath } from "./aftermath.ts";
import { WorkerContextHost } from "./context-host.ts";
import { Deadlines } from "./deadlines.ts";
import type { Ending, Item } from "./ending.ts";
import { EventWriter } from "./event-writer.ts";
import { Execution } from "./execution.ts";
import type { Failure } from "./failures.ts";
import { HeartbeatThread } from "./heartbeat-thread.ts";
import { Heartbeats, leaseLost } from "./heartbeats.ts";
import type { ResolvedWorkerOptions } from "./options.ts";
import { Prefetch } from "./prefetch.ts";
import { Pump, type PumpHost } from "./pump.ts";
import type { Registry } from "./registry.ts";
import type { RemotePool } from "./remote-pool.ts";
import { Runner } from "./runner.ts";
import { sleep } from "./sleep.ts";
import { Starter } from "./starter.ts";
import { lookForResults } from "./stored-results.ts";
import { Strangers } from "./strangers.ts";
import { damagedFailure, unknownFailure, verdictOf } from "./verdict.ts";

export class Engine implements PumpHost {
  readonly runtime: Runtime;
  readonly options: ResolvedWorkerOptions;
  readonly registry: Registry;
  readonly queues: readonly string[];
  readonly leaseMs: number;
  readonly name: string;
  readonly maxReserveBytes: number;
  readonly ordered: boolean;
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
  readonly #starter: Starter;
  readonly #strangers: Strangers;
  readonly #held = new Set<Execution>();
  /** Executions that count against the room: waiting and running, not those on their way out. */
  #active = 0;
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
    this.maxReserveBytes = options.maxReserveBytes;
    this.ordered = options.concurrency === 1;
    const { taskQueue, resultStorage, eventStorage, logger } = runtime;
    this.maxValueBytes = Math.min(
      taskQueue.capabilities.maxPayloadBytes,
      resultStorage?.capabilities.maxValueBytes ?? Number.POSITIVE_INFINITY,
    );
    this.events = eventStorage === undefined ? undefined : new EventWriter(eventStorage, logger);
    this.contexts = new WorkerContextHost(runtime, this.events, () => this.#heartbeats.progressed());
    this.#strangers = new Strangers(logger);
    this.#prefetch = new Prefetch(options.concurrency);
    this.#pump = new Pump(this);
    this.#runner = new Runner(this, pool);
    this.#heartbeats = new Heartbeats({
      taskQueue,
      leaseMs: options.leaseMs,
      logger,
      held: () => this.#held,
      overdue: (execution) => this.overdue(execution),
      learn: () => void this.#thread?.learn(),
      lost: (execution) => this.#lost(execution),
      cancelled: (execution) => this.#cancelled(execution),
    });
    this.#deadlines = new Deadlines({
      held: () => this.#held,
      end: (execution, ending) => this.end(execution, ending),
      fail: (execution, failure) => this.fail(execution, failure),
      overdue: (execution) => this.overdue(execution),
      fullSince: () => this.#starter.fullSince,
      standstillMs: () => this.#prefetch.standstillMs,
      stalled: () => this.#stalled(),
    });
    this.#aftermath = new Aftermath(options, this.contexts, logger, () => {
      if (this.#mode === "drain") this.#pump.kick();
    });
    this.#starter = new Starter(
      {
        held: () => this.#held,
        end: (execution, ending) => this.end(execution, ending),
        overdue: (execution) => this.overdue(execution),
        started: (execution) => this.#started(execution),
        single: (execution) => this.#runner.single(execution),
        batch: (definition, executions) => this.#runner.batch(definition, executions),
      },
      registry,
      options.concurrency,
      options.leaseMs,
    );
  }

  // --- life ---

  /** Takes tasks from now on. */
  begin(mode: "wait" | "drain"): void {
    const { runtime, options } = this;
    this.#mode = mode;
    this.#heartbeats.start();
    if (
      runtime.remote !== undefined &&
      runtime.taskQueue.capabilities.remoteHeartbeats &&
      (this.#thread !== undefined || HeartbeatThread.isPossible)
    ) {
      this.#thread ??= new HeartbeatThread(runtime.remote, options.leaseMs, runtime.logger, () => this.#held);
    }
    this.#pump.kick();
  }
  /** Resolves when the queue has answered for the first time; rejects when it refuses for good. */
  async answered(): Promise<void> {
    await this.#pump.answered();
  }
  /** Works until nothing is ready. */
  async drained(): Promise<void> {
    await this.#pump.drained();
  }
  /** Takes no more, and gives back what has not started. */
  rest(): void {
    this.#mode = "stop";
    this.#pump.interrupt();
    for (const execution of this.#starter.takeAll()) this.end(execution, { kind: "release" });
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
  /** Lets go of timers and threads, and waits so long for the last events. */
  async finish(flushMs: number): Promise<void> {
    this.#heartbeats.stop();
    this.#deadlines.stop();
    const thread = this.#thread;
    this.#thread = undefined;
    await Promise.all([this.events?.flush(flushMs), thread?.stop()]);
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
    const { concurrency } = this.options;
    // Behind handlers that prove slow nothing waits, in batches neither.
    if (this.#prefetch.stalled && this.#starter.fullSince !== undefined) return concurrency;
    return concurrency + this.#prefetch.size + this.#starter.batchRoom;
  }
  room(): number {
    return this.capacity() - this.#active;
  }
  held(): number {
    return this.#held.size + this.#aftermath.running;
  }
  overdue(execution: Execution): boolean {
    const now = performance.now();
    const wall = Date.now();
    if (!execution.overdue(now, wall)) return false;
    return this.#thread?.learn() !== true || execution.overdue(now, wall);
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
    let unfit: Execution[] | undefined;
    for (const lease of leases) {
      const execution = new Execution(lease, this.registry.get(lease.task.name), this.leaseMs, now, wallNow);
      this.#held.add(execution);
      this.#active += 1;
      executions.push(execution);
      if (execution.damaged !== undefined || execution.definition === undefined) (unfit ??= []).push(execution);
      else if (elsewhere && lease.task.expiries > 0) redelivered.push(execution);
      else this.#starter.add(execution);
    }
    // Before any handler starts, since the first may block the event loop.
    this.#thread?.add(executions);
    for (const execution of unfit ?? []) this.#turnAway(execution);
    if (this.#mode === "stop") {
      this.rest();
      return;
    }
    if (redelivered.length > 0) void this.#lookForResults(redelivered);
    this.#deadlines.came(now);
    this.#starter.start();
  }

  /** What must not or cannot run here. */
  #turnAway(execution: Execution): void {
    const { damaged, lease } = execution;
    if (this.#mode === "stop") this.end(execution, { kind: "release" });
    else if (damaged !== undefined) this.fail(execution, damagedFailure(lease, damaged));
    else if (this.options.unknownTasks === "fail") this.fail(execution, unknownFailure(lease));
    else {
      const delayMs = this.#strangers.rest(lease.taskId, lease.task.name, lease.queue);
      this.end(execution, { kind: "release", delayMs });
    }
  }

  async #lookForResults(executions: readonly Execution[]): Promise<void> {
    await lookForResults(this.runtime, executions, {
      stopping: () => this.#mode === "stop",
      found: (execution, ending) => this.end(execution, ending),
      missing: (execution) => this.#starter.add(execution),
    });
    if (this.#mode === "stop") this.rest();
    else this.#starter.start();
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
    if (this.events !== undefined && (!this.runtime.eventsTogether || item.eventsApart === true)) {
      try {
        this.events.addAll(this.events.take(execution));
        this.events.addAll([endingEvent(this.runtime, item)]);
      } catch (error) {
        // A serializer of the user's that refuses what an event says.
        this.runtime.logger.warn("An event could not be written", { taskId: execution.lease.taskId, error });
      }
    }
    this.#aftermath.of(item);
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
    this.#starter.ended(execution);
  }
  /** A failed attempt: tried again, dead, or cancelled where that was asked for. */
  fail(execution: Execution, failure: Failure): void {
    if (execution.phase === "ended" || execution.phase === "over") return;
    this.end(execution, verdictOf(execution, failure, this.runtime.serializer, this.maxValueBytes));
  }
  /** The handler let go, whatever became of its tasks. */
  freed(slot: { free: boolean } | undefined): void {
    this.#starter.freed(slot);
  }
  /** No slot came free for long: what waits goes back to where others can have it, and nothing is leased ahead for now. */
  #stalled(): void {
    if (this.#mode === "stop") return;
    this.#prefetch.stall();
    for (const execution of this.#starter.takeAll()) this.end(execution, { kind: "release" });
    this.#pump.retreat();
  }
  #forget(execution: Execution): void {
    if (execution.phase === "over") return;
    if (execution.phase !== "ended") this.#active -= 1;
    execution.phase = "over";
    this.#held.delete(execution);
    this.#thread?.drop(execution);
    this.#starter.ended(execution);
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
