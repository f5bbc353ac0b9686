// Redelivered tasks whose results are in another backend than the queue: the result of this run may be there already.
import type { Runtime } from "../runtime.ts";
import { failureOf } from "../task-outcome.ts";
import { endingOf, type Ending } from "./ending.ts";
import type { Execution } from "./execution.ts";
import { backoffMs, sleep } from "./sleep.ts";

/** What is done with each execution. */
export interface ResultFinder {
  stopping(): boolean;
  found(execution: Execution, ending: Ending): void;
  missing(execution: Execution): void;
}

/**
 * A crash between result and settlement left the result behind: it stands, and the handler must not run again. While the storage is away
 * it is asked again; a worker that stops gives the tasks back.
 */
export async function lookForResults(
  runtime: Runtime,
  executions: readonly Execution[],
  finder: ResultFinder,
): Promise<void> {
  const { resultStorage, serializer, logger } = runtime;
  if (resultStorage === undefined) return;
  const { maxBatch } = resultStorage.capabilities;
  let open = executions;
  for (let failures = 0; open.length > 0;) {
    const part = open.slice(0, maxBatch);
    try {
      const found = await resultStorage.get(part.map((execution) => execution.lease.taskId));
      part.forEach((execution, index) => {
        if (execution.phase !== "waiting") return;
        const stored = found[index];
        if (stored === undefined || stored.run !== execution.lease.run) {
          finder.missing(execution);
          return;
        }
        const { taskId } = stored;
        finder.found(
          execution,
          endingOf(stored, {
            output: (text) => serializer.deserialize(text),
            error: (text) => failureOf(text, taskId, serializer),
          }),
        );
      });
      open = open.slice(part.length);
      failures = 0;
    } catch (error) {
      logger.warn("The results of redelivered tasks cannot be looked up; it is tried again", { error });
      if (!finder.stopping()) {
        failures += 1;
        await sleep(backoffMs(failures));
        open = open.filter((execution) => execution.phase === "waiting");
      }
      if (finder.stopping()) {
        for (const execution of open) if (execution.phase === "waiting") finder.found(execution, { kind: "release" });
        return;
      }
    }
  }
}
