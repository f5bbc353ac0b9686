// Keeps leases alive from the main loop, every third of the lease time, and finds out which are cancelled or lost.
import type { LeaseState, TaskQueue } from "../contracts/index.ts";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { Logger } from "../task-definition.ts";
import type { Execution } from "./execution.ts";

/** Extends leases in batches and tells each execution how it stands. Rejects as `extend` does. */
export async function extendLeases(
  queue: TaskQueue,
  executions: readonly Execution[],
  leaseMs: number,
): Promise<readonly LeaseState[]> {
  const states: LeaseState[] = [];
  const { maxBatch } = queue.capabilities;
  for (let start = 0; start < executions.length; start += maxBatch) {
    const part = executions.slice(start, start + maxBatch);
    const sentAt = performance.now();
    const sentWall = Date.now();
    const progress = part.map((execution) => execution.progress);
    const send = (said: readonly (string | undefined)[]): Promise<readonly LeaseState[]> =>
      queue.extend(
        part.map(({ lease: { taskId, queue: name, token, run, attempt } }, index) => ({
          taskId,
          queue: name,
          token,
          run,
          attempt,
          progress: said[index],
        })),
        leaseMs,
      );
    const answers = await send(progress).catch((error: unknown) => {
      // What a handler said must not cost the lease of its task, nor of others.
      if (
        (isOmniQError(error) && (error.retryable || error.code === "OMNIQ_CLOSED")) ||
        progress.every((one) => one === undefined)
      )
        throw error;
      return send([]);
    });
    part.forEach((execution, index) => {
      const answer = answers[index] ?? { state: "lost" as const };
      states.push(answer);
      if (answer.state === "lost") return;
      execution.extended(sentAt, sentWall);
      if (execution.progress === progress[index]) execution.progress = undefined;
      if (answer.state === "cancelling" && !execution.cancelling) execution.cancelling = true;
    });
  }
  return states;
}

/** What the main loop does with its leases. */
export interface HeartbeatHost {
  readonly taskQueue: TaskQueue;
  readonly leaseMs: number;
  readonly logger: Logger;
  held(): Iterable<Execution>;
  overdue(execution: Execution): boolean;
  /** Takes over what was extended elsewhere, so that news does not pile up. */
  learn(): void;
  lost(execution: Execution): void;
  cancelled(execution: Execution): void;
}

/** Progress is sent at most so often, all of a worker's together. */
const progressMs = 500;
/** Where the queue does not tell of cancels, it is asked so often about tasks that run. */
const askMs = 1_000;
/** Of longer payloads the queue is not asked: the answer has them in it. They hear of a cancel at the next heartbeat. */
const maxAskedLength = 65_536;

/** The heartbeat of one worker; beside it, between beats, progress on its way out and cancels on their way in. */
export class Heartbeats {
  readonly #host: HeartbeatHost;
  #timer: NodeJS.Timeout | undefined;
  #askTimer: NodeJS.Timeout | undefined;
  #progressTimer: NodeJS.Timeout | undefined;
  #forgetCancels: (() => void) | undefined;
  #heard: Set<string> | undefined;
  #beating = false;
  #asking = false;
  #sending = false;
  constructor(host: HeartbeatHost) {
    this.#host = host;
  }
  start(): void {
    if (this.#timer !== undefined) return;
    const { leaseMs, taskQueue } = this.#host;
    const everyMs = Math.max(1, Math.floor(leaseMs / 3));
    this.#timer = setInterval(() => void this.beat(), everyMs);
    if (taskQueue.onCancel !== undefined) this.#forgetCancels = taskQueue.onCancel((ids) => this.#hear(ids));
    else if (everyMs > askMs) this.#askTimer = setInterval(() => void this.#ask(), askMs);
  }
  stop(): void {
    clearInterval(this.#timer);
    clearInterval(this.#askTimer);
    clearTimeout(this.#progressTimer);
    this.#timer = this.#askTimer = this.#progressTimer = undefined;
    this.#forgetCancels?.();
    this.#forgetCancels = undefined;
  }
  /** One heartbeat. Never rejects: while the queue is away, the own deadlines decide. */
  async beat(): Promise<void> {
    const { leaseMs } = this.#host;
    this.#host.learn();
    const now = performance.now();
    // Young leases need none yet; they have at least half of their time left at the next beat.
    const due = [...this.#host.held()].filter(
      (execution) =>
        execution.phase !== "over" && (execution.progress !== undefined || now - execution.extendedAt >= leaseMs / 6),
    );
    for (const execution of due) {
      if (this.#host.overdue(execution)) execution.abort(leaseLost(execution));
    }
    if (due.length === 0 || this.#beating) return;
    this.#beating = true;
    await this.#extend(due);
    this.#beating = false;
  }
  /** A handler said how far it is: the queue is told soon. */
  progressed(): void {
    if (this.#timer === undefined) return;
    this.#progressTimer ??= setTimeout(() => {
      this.#progressTimer = undefined;
      void this.#sendProgress();
    }, progressMs);
  }

  async #sendProgress(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    const due = [...this.#host.held()].filter(({ phase, progress }) => phase === "running" && progress !== undefined);
    const sent = await this.#extend(due, "quietly");
    this.#sending = false;
    // While the queue is away the heartbeat carries it.
    if (!sent) return;
    // What was said while this was under way.
    for (const { phase, progress } of this.#host.held()) {
      if (phase !== "running" || progress === undefined) continue;
      this.progressed();
      return;
    }
  }
  /** A hint of the queue's, which may be wrong: the lease itself is asked. */
  #hear(ids: readonly string[]): void {
    if (ids.length === 0) return;
    if (this.#heard !== undefined) {
      for (const id of ids) this.#heard.add(id);
      return;
    }
    this.#heard = new Set(ids);
    setImmediate(() => {
      const heard = this.#heard;
      this.#heard = undefined;
      void this.#extend(this.#live().filter(({ lease }) => heard?.has(lease.taskId) === true));
    });
  }
  #live(): readonly Execution[] {
    return [...this.#host.held()].filter(
      ({ phase, cancelling }) => !cancelling && (phase === "running" || phase === "waiting"),
    );
  }
  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    const { taskQueue } = this.#host;
    const { maxBatch } = taskQueue.capabilities;
    const now = performance.now();
    const running = this.#live().filter(
      ({ phase, startedAt, lease }) =>
        phase === "running" && now - startedAt >= askMs / 2 && lease.task.payload.length <= maxAskedLength,
    );
    try {
      for (let start = 0; start < running.length; start += maxBatch) {
        const part = running.slice(start, start + maxBatch);
        const tasks = await taskQueue.get(part.map(({ lease }) => lease.taskId));
        this.#hear(tasks.flatMap((task) => (task?.cancelling === true ? [task.id] : [])));
      }
    } catch {
      // The heartbeat says so, if it lasts.
    }
    this.#asking = false;
  }
  /** Says whether the queue answered; never rejects. */
  async #extend(due: readonly Execution[], how: "loudly" | "quietly" = "loudly"): Promise<boolean> {
    if (due.length === 0) return true;
    const { leaseMs, taskQueue, logger } = this.#host;
    try {
      const states = await extendLeases(taskQueue, due, leaseMs);
      due.forEach((execution, index) => {
        if (execution.phase === "over") return;
        if (states[index]?.state === "lost") this.#host.lost(execution);
        else if (execution.cancelling) this.#host.cancelled(execution);
      });
      return true;
    } catch (error) {
      if (how === "loudly") logger.warn("The heartbeat failed; it is tried again", { leases: due.length, error });
      return false;
    }
  }
}

/** The abort reason of a lease that ran out. */
export function leaseLost(execution: Execution): OmniQError {
  const { taskId, task } = execution.lease;
  return new OmniQError(
    "OMNIQ_LEASE_LOST",
    `The lease of ${taskId} (${task.name}) ran out; another worker may run the task`,
    { taskId },
  );
}
