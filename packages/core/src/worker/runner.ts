// Runs handlers: here in this thread, or by the pool in others; with middleware around either.
import { setMaxListeners } from "node:events";
import { OmniQError } from "../errors.ts";
import { jsonSerializer } from "../serializer.ts";
import { isPromise } from "../standard-schema.ts";
import { failureOf as storedFailure } from "../task-outcome.ts";
import type { BatchTask, TaskContext } from "../task-definition.ts";
import { batchOutputs, checkOutput, isBatchFailure, outputText, parseInput } from "./attempt.ts";
import type { Engine } from "./engine.ts";
import type { Context, Execution } from "./execution.ts";
import { failureOf, type Failure } from "./failures.ts";
import type { Workable } from "./registry.ts";
import type { RemotePool } from "./remote-pool.ts";
import type { RemoteOutcome, RemoteTask } from "./remote-protocol.ts";
import { remoteTask } from "./remote-task.ts";

/** Thrown inside a middleware chain for a failure that was understood in another thread. */
class RemoteFailure extends Error implements Failure {
  readonly error: OmniQError;
  readonly permanent: boolean;
  readonly delayMs: number | undefined;
  constructor(error: OmniQError, permanent: boolean, delayMs: number | undefined) {
    super(error.message);
    this.error = error;
    this.permanent = permanent;
    this.delayMs = delayMs;
    understood.add(this);
  }
}
const understood = new WeakSet<Failure>();

export class Runner {
  readonly #engine: Engine;
  readonly #pool: RemotePool | undefined;
  constructor(engine: Engine, pool: RemotePool | undefined) {
    this.#engine = engine;
    this.#pool = pool;
  }

  /** Runs one task. What is synchronous in its way is not awaited: promises would cost more than all else that is done here. */
  single(execution: Execution): void {
    let running: void | Promise<void> = undefined;
    try {
      running = this.#attempt(execution);
    } catch (error) {
      this.#failed(execution, error);
    }
    if (running === undefined) this.#engine.freed(execution.slot);
    else void this.#settled(execution, running);
  }
  batch(definition: Workable, executions: readonly Execution[]): void {
    void (this.#pool === undefined ? this.#batch(definition, executions) : this.#remoteBatch(this.#pool, executions));
  }

  async #settled(execution: Execution, running: Promise<void>): Promise<void> {
    try {
      await running;
    } catch (error) {
      this.#failed(execution, error);
    } finally {
      this.#engine.freed(execution.slot);
    }
  }
  #attempt(execution: Execution): void | Promise<void> {
    const { lease, definition } = execution;
    if (definition === undefined) throw new TypeError("A task without a definition is turned away before");
    if (this.#pool !== undefined) return this.#remoteSingle(this.#pool, execution);
    // Read before the handler may or may not ask: it never runs without what it was promised.
    if (hasSlots(definition)) void execution.context(this.#engine.contexts).dependencies;
    const input = parseInput(lease.task, definition, this.#engine.runtime.serializer, lease.task.payload);
    return input instanceof Promise
      ? input.then((value: unknown) => this.#handle(execution, definition, value))
      : this.#handle(execution, definition, input);
  }
  #handle(execution: Execution, definition: Workable, input: unknown): void | Promise<void> {
    const { options, contexts } = this.#engine;
    const { handler } = definition;
    if (handler.kind !== "single") throw new Error("A batch handler runs by batches");
    const context = execution.context(contexts);
    const output: unknown =
      options.middleware.length === 0
        ? handler.run(input, context)
        : this.#around(context, async () => await handler.run(input, context));
    return isPromise(output)
      ? Promise.resolve(output).then((value) => this.#complete(execution, definition, value))
      : this.#complete(execution, definition, output);
  }
  #complete(execution: Execution, definition: Workable, output: unknown): void | Promise<void> {
    if (execution.phase !== "running") return undefined;
    const engine = this.#engine;
    const { task } = execution.lease;
    const end = (): void => {
      const value = outputText(task, engine.runtime.serializer, output, engine.maxValueBytes);
      engine.end(execution, { kind: "completed", value, output: () => output });
    };
    const checked = checkOutput(task, definition, output);
    return checked === undefined ? end() : checked.then(end);
  }

  /** The first middleware is the outermost. */
  #around(context: TaskContext<any>, handler: () => Promise<unknown>): Promise<unknown> {
    const { middleware } = this.#engine.options;
    const call = (index: number): Promise<unknown> => {
      const layer = middleware[index];
      if (layer === undefined) return handler();
      let called = false;
      return layer(context, async () => {
        if (called) throw new OmniQError("OMNIQ_INVALID_OPTION", "A middleware called next() twice");
        called = true;
        return await call(index + 1);
      });
    };
    return call(0);
  }

  #failed(execution: Execution, error: unknown): void {
    const { taskId, task } = execution.lease;
    this.#engine.fail(
      execution,
      // What was thrown may throw by itself where it is asked what it is.
      understood.has(error as Failure) ? (error as Failure) : failureOf({ id: taskId, name: task.name }, error),
    );
  }

  // --- batches ---

  async #batch(definition: Workable, executions: readonly Execution[]): Promise<void> {
    const engine = this.#engine;
    const { serializer } = engine.runtime;
    const { handler } = definition;
    if (handler.kind !== "batch") throw new TypeError("not a batch handler");
    const good: { execution: Execution; task: BatchTask<unknown, any> }[] = [];
    await Promise.all(
      executions.map(async (execution) => {
        const { task } = execution.lease;
        try {
          const input = await parseInput(task, definition, serializer, task.payload);
          const context = execution.context(engine.contexts);
          good.push({
            execution,
            task: {
              id: context.id,
              attempt: context.attempt,
              headers: context.headers,
              dependencies: context.dependencies,
              get signal() {
                return execution.signal;
              },
              input,
            },
          });
        } catch (error) {
          this.#failed(execution, error);
        }
      }),
    );
    // Parsing may have finished in another order than the one in which the tasks came.
    good.sort((a, b) => executions.indexOf(a.execution) - executions.indexOf(b.execution));
    const first = good[0];
    try {
      if (first === undefined) return;
      const lead = first.execution.context(engine.contexts);
      const { log, enqueue, enqueueMany } = lead;
      const shared = {
        get signal() {
          return allAborted(good.map(({ execution }) => execution));
        },
        log,
        enqueue,
        enqueueMany,
      };
      const outputs = batchOutputs(
        definition.name,
        good.length,
        await handler.run(
          good.map(({ task }) => task),
          shared,
        ),
      );
      await Promise.all(
        good.map(async ({ execution }, index) => {
          const { task } = execution.lease;
          try {
            const given = outputs[index];
            const output = isPromise(given) ? await given : given;
            if (isBatchFailure(output)) throw output;
            await checkOutput(task, definition, output);
            engine.end(execution, {
              kind: "completed",
              value: outputText(task, serializer, output, engine.maxValueBytes),
              output: () => output,
            });
          } catch (error) {
            this.#failed(execution, error);
          }
        }),
      );
    } catch (error) {
      for (const { execution } of good) this.#failed(execution, error);
    } finally {
      engine.freed(executions[0]?.slot);
    }
  }

  // --- other threads ---

  #unpack(execution: Execution, outcome: RemoteOutcome): string | undefined {
    if (outcome.ok) return outcome.value;
    throw new RemoteFailure(
      storedFailure(outcome.error, execution.lease.taskId, jsonSerializer),
      outcome.permanent,
      outcome.delayMs,
    );
  }
  #value(text: string | undefined): unknown {
    return text === undefined ? undefined : jsonSerializer.deserialize(text);
  }
  #text(execution: Execution, text: string | undefined): string | undefined {
    const { serializer } = this.#engine.runtime;
    if (text === undefined || serializer === jsonSerializer) return text;
    return outputText(execution.lease.task, serializer, jsonSerializer.deserialize(text), this.#engine.maxValueBytes);
  }

  async #remoteSingle(pool: RemotePool, execution: Execution): Promise<void> {
    const engine = this.#engine;
    const context = execution.context(engine.contexts);
    const call = async (): Promise<string | undefined> => {
      const tasks = [remoteTask(execution, context, engine.runtime.serializer)];
      const run = { executions: [execution], contexts: [context], tasks, batch: false };
      const [outcome] = await pool.run({ ...run, maxValueBytes: engine.maxValueBytes });
      return this.#unpack(execution, outcome as RemoteOutcome);
    };
    if (engine.options.middleware.length === 0) {
      const text = await call();
      engine.end(execution, { kind: "completed", value: this.#text(execution, text), output: () => this.#value(text) });
      return;
    }
    const output = await this.#around(context, async () => this.#value(await call()));
    engine.end(execution, {
      kind: "completed",
      output: () => output,
      value: outputText(execution.lease.task, engine.runtime.serializer, output, engine.maxValueBytes),
    });
  }

  async #remoteBatch(pool: RemotePool, batch: readonly Execution[]): Promise<void> {
    const engine = this.#engine;
    const executions: Execution[] = [];
    const contexts: Context[] = [];
    const tasks: RemoteTask[] = [];
    for (const execution of batch) {
      try {
        const context = execution.context(engine.contexts);
        tasks.push(remoteTask(execution, context, engine.runtime.serializer));
        executions.push(execution);
        contexts.push(context);
      } catch (error) {
        this.#failed(execution, error);
      }
    }
    try {
      if (executions.length === 0) return;
      const run = { executions, contexts, tasks, batch: true, maxValueBytes: engine.maxValueBytes };
      const outcomes = await pool.run(run);
      executions.forEach((execution, index) => {
        try {
          const text = this.#unpack(execution, outcomes[index] as RemoteOutcome);
          engine.end(execution, {
            kind: "completed",
            value: this.#text(execution, text),
            output: () => this.#value(text),
          });
        } catch (error) {
          this.#failed(execution, error);
        }
      });
    } catch (error) {
      for (const execution of executions) this.#failed(execution, error);
    } finally {
      engine.freed(batch[0]?.slot);
    }
  }
}

function hasSlots({ slots }: Workable): boolean {
  for (const _ in slots) return true;
  return false;
}

/** Aborts when every one of the batch's tasks is aborted. */
function allAborted(executions: readonly Execution[]): AbortSignal {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  let left = executions.length;
  for (const { signal } of executions) {
    const one = (): void => {
      left -= 1;
      if (left === 0) controller.abort(signal.reason);
    };
    if (signal.aborted) one();
    else signal.addEventListener("abort", one, { once: true });
  }
  return controller.signal;
}
