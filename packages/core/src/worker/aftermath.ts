// What follows a task that was settled: the worker's counts, and the user's hooks.
import type { OmniQError } from "../errors.ts";
import type { Logger } from "../task-definition.ts";
import type { DrainSummary } from "../worker.ts";
import type { WorkerContextHost } from "./context-host.ts";
import type { Item } from "./ending.ts";
import { copyThrown } from "./error-copy.ts";
import type { Execution } from "./execution.ts";
import type { ResolvedWorkerOptions } from "./options.ts";

/** What a log line says of a failed attempt: never the payload, and an error that can be read whatever was thrown. */
function about({ lease }: Execution, error: OmniQError): Readonly<Record<string, unknown>> {
  const { taskId, task, queue, run, attempt } = lease;
  return {
    ...{ taskId, taskName: task.name, queue, run, attempt, maxAttempts: task.maxAttempts },
    code: error.code,
    // A schema or a serializer of the user's may quote the payload in its own error.
    error: error.code === "OMNIQ_TASK_FAILED" ? copyThrown(error.cause ?? error) : error.message,
  };
}

const none = { completed: 0, retried: 0, failed: 0, cancelled: 0 };

export class Aftermath {
  readonly #options: ResolvedWorkerOptions;
  readonly #contexts: WorkerContextHost;
  readonly #logger: Logger;
  readonly #ended: () => void;
  #counts = { ...none };
  #running = 0;

  /** `ended` is told when a hook has ended. */
  constructor(options: ResolvedWorkerOptions, contexts: WorkerContextHost, logger: Logger, ended: () => void) {
    this.#options = options;
    this.#contexts = contexts;
    this.#logger = logger;
    this.#ended = ended;
  }

  /** Hooks under way. */
  get running(): number {
    return this.#running;
  }
  takeCounts(): DrainSummary {
    const counts = this.#counts;
    this.#counts = { ...none };
    return counts;
  }

  of({ execution, ending }: Item): void {
    const { onCompleted, onRetry, onFailed } = this.#options;
    switch (ending.kind) {
      case "completed":
        this.#counts.completed += 1;
        if (onCompleted !== undefined)
          this.#hook(execution, () => onCompleted(execution.context(this.#contexts), ending.output()));
        break;
      case "retry":
        this.#counts.retried += 1;
        this.#logger.warn("An attempt of a task failed; it is tried again", {
          ...about(execution, ending.error),
          delayMs: ending.delayMs,
        });
        if (onRetry !== undefined)
          this.#hook(execution, () =>
            onRetry(execution.context(this.#contexts), ending.error, Date.now() + ending.delayMs),
          );
        break;
      case "failed":
        this.#counts.failed += 1;
        this.#logger.error("A task failed for good; it is a dead letter now", about(execution, ending.error));
        if (onFailed !== undefined)
          this.#hook(execution, () => onFailed(execution.context(this.#contexts), ending.error));
        break;
      case "cancelled":
        this.#counts.cancelled += 1;
    }
  }

  #hook(execution: Execution, call: () => void | Promise<void>): void {
    this.#running += 1;
    const run = async (): Promise<void> => {
      try {
        await call();
      } catch (error) {
        this.#logger.error("A hook of the worker failed; the task's outcome stands", {
          taskId: execution.lease.taskId,
          error: copyThrown(error),
        });
      } finally {
        this.#running -= 1;
        this.#ended();
      }
    };
    void run();
  }
}
