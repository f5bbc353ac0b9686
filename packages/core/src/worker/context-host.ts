// What handlers can do through their context: read dependencies, log, report progress, enqueue.
import type { NewEvent } from "../contracts/index.ts";
import { isOmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import type { Logger } from "../task-definition.ts";
import { dependencyValues } from "./attempt.ts";
import { maxLineLength, textOf } from "./error-copy.ts";
import type { EventWriter } from "./event-writer.ts";
import type { ContextHost, Execution } from "./execution.ts";

/** Serves the contexts of one worker. After a task has ended, what its handler still says goes to the logger alone. */
export class WorkerContextHost implements ContextHost {
  readonly enqueue: Runtime["enqueue"];
  readonly enqueueMany: Runtime["enqueueMany"];
  readonly #runtime: Runtime;
  readonly #events: EventWriter | undefined;

  readonly #progressed: () => void;

  /** `progressed` is told that a handler said how far it is. */
  constructor(runtime: Runtime, events: EventWriter | undefined, progressed: () => void) {
    this.#progressed = progressed;
    this.#runtime = runtime;
    this.#events = events;
    this.enqueue = runtime.enqueue;
    this.enqueueMany = runtime.enqueueMany;
  }

  dependencies(execution: Execution): Readonly<Record<string, unknown>> {
    const { definition, envelope, lease } = execution;
    return definition === undefined
      ? {}
      : dependencyValues(lease.task, definition, envelope, lease.dependencies, this.#runtime.serializer);
  }
  log(execution: Execution): Logger {
    const { logger } = this.#runtime;
    const { lease } = execution;
    const task = {
      id: lease.taskId,
      name: lease.task.name,
      queue: lease.queue,
      run: lease.run,
      attempt: lease.attempt,
    };
    const at =
      (level: "debug" | "info" | "warn" | "error") =>
      (message: string, fields?: Readonly<Record<string, unknown>>): void => {
        const said = textOf(message, maxLineLength);
        const about = { taskId: lease.taskId, taskName: lease.task.name, attempt: lease.attempt };
        try {
          logger[level](said, fields === undefined ? about : { ...about, ...fields });
        } catch {
          // Fields that throw where they are read, or a logger that does: the handler goes on.
        }
        this.#happened(execution, () => this.#runtime.event("log", task, { level, message: said }));
      };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }
  progress(execution: Execution, fraction: number, message: string | undefined): void {
    if (execution.phase !== "running") return;
    const said = message === undefined ? { fraction } : { fraction, message: textOf(message) };
    execution.progress = this.#runtime.serializer.serialize(said);
    this.#progressed();
    const { lease } = execution;
    this.#happened(execution, () =>
      this.#runtime.event(
        "progress",
        { id: lease.taskId, name: lease.task.name, queue: lease.queue, run: lease.run, attempt: lease.attempt },
        said,
      ),
    );
  }
  #happened(execution: Execution, event: () => NewEvent): void {
    if (this.#events === undefined || execution.phase !== "running") return;
    try {
      const made = event();
      const max = this.#runtime.eventStorage?.capabilities.maxDataBytes ?? 0;
      if (made.data !== undefined && made.data.length * 3 > max && Buffer.byteLength(made.data) > max) {
        this.#runtime.logger.warn("An event was too big for the event storage and is left out", {
          taskId: execution.lease.taskId,
          type: made.type,
        });
        return;
      }
      this.#events.add(execution, made);
    } catch (error) {
      this.#runtime.logger.warn("An event could not be written", {
        taskId: execution.lease.taskId,
        error: isOmniQError(error) ? error.code : error,
      });
    }
  }
}
