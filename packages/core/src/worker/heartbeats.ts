// Keeps leases alive from the main loop, every third of the lease time, and finds out which are cancelled or lost.
import type { LeaseState, TaskQueue } from "../contracts/index.ts";
import { OmniQError } from "../errors.ts";
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
    const answers = await queue.extend(
      part.map(({ lease, progress: text }) => ({
        taskId: lease.taskId,
        queue: lease.queue,
        token: lease.token,
        run: lease.run,
        attempt: lease.attempt,
        progress: text,
      })),
      leaseMs,
    );
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
  lost(execution: Execution): void;
  cancelled(execution: Execution): void;
}

/** The heartbeat of one worker. */
export class Heartbeats {
  readonly #host: HeartbeatHost;
  #timer: NodeJS.Timeout | undefined;
  #beating = false;
  constructor(host: HeartbeatHost) {
    this.#host = host;
  }
  start(): void {
    const everyMs = Math.max(1, Math.floor(this.#host.leaseMs / 3));
    this.#timer ??= setInterval(() => void this.beat(), everyMs);
  }
  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
  /** One heartbeat. Never rejects: while the queue is away, the own deadlines decide. */
  async beat(): Promise<void> {
    const { leaseMs, taskQueue, logger } = this.#host;
    const now = performance.now();
    const wall = Date.now();
    // Young leases need none yet; they have at least half of their time left at the next beat.
    const due = [...this.#host.held()].filter(
      (execution) =>
        execution.phase !== "over" && (execution.progress !== undefined || now - execution.extendedAt >= leaseMs / 6),
    );
    for (const execution of due) {
      if (execution.overdue(now, wall)) execution.abort(leaseLost(execution));
    }
    if (due.length === 0 || this.#beating) return;
    this.#beating = true;
    try {
      const states = await extendLeases(taskQueue, due, leaseMs);
      due.forEach((execution, index) => {
        if (execution.phase === "over") return;
        if (states[index]?.state === "lost") this.#host.lost(execution);
        else if (execution.cancelling) this.#host.cancelled(execution);
      });
    } catch (error) {
      logger.warn("The heartbeat failed; it is tried again", { leases: due.length, error });
    } finally {
      this.#beating = false;
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
