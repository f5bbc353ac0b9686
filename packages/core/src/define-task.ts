// Makes task definitions: the contract that producers import, and the implementation that workers take.
import {
  definitionOf,
  withDefinition,
  type Definition,
  type HandlerDefinition,
  type SlotDefinition,
} from "./definition.ts";
import { OmniQError } from "./errors.ts";
import { checkInteger, checkKey, describeType } from "./limits.ts";
import { consoleLogger } from "./logger.ts";
import { checkDefinitionOptions, refuseUnknown } from "./option-checks.ts";
import {
  isStandardSchema,
  parseWith,
  type InferInput,
  type InferOutput,
  type StandardSchemaV1,
} from "./standard-schema.ts";
import type {
  AllowedFailure,
  AnyTaskDefinition,
  BatchHandler,
  BatchOptions,
  DefinedTask,
  DefineTask,
  DependencySlots,
  Handler,
  TaskCall,
  TaskContext,
  TaskDefinition,
} from "./task-definition.ts";

/**
 * With `run`: a task that workers can take. Without: its contract alone, for producers; add the handler with
 * `implement`.
 * Options are checked here: `OMNIQ_INVALID_OPTION` names the one that is wrong or unknown.
 */
export function defineTask<
  InputSchema extends StandardSchemaV1 = StandardSchemaV1<void>,
  OutputSchema extends StandardSchemaV1 = StandardSchemaV1,
  Slots extends DependencySlots = {},
  Run extends Handler<InferOutput<InputSchema>, Slots, InferInput<OutputSchema>> | undefined =
    | Handler<InferOutput<InputSchema>, Slots, InferInput<OutputSchema>>
    | undefined,
>(definition: DefineTask<InputSchema, OutputSchema, Slots, Run>): DefinedTask<InputSchema, OutputSchema, Slots, Run> {
  const { name, input, output, dependsOn, run, ...options } = definition;
  checkKey("The name of a task", name);
  const where = `of task ${JSON.stringify(name)}`;
  if (input !== undefined && !isStandardSchema(input)) throw notASchema(`input ${where}`);
  if (output !== undefined && !isStandardSchema(output)) throw notASchema(`output ${where}`);
  if (run !== undefined && typeof run !== "function") {
    throw new OmniQError("OMNIQ_INVALID_OPTION", `run ${where} must be a function, not ${describeType(run)}`);
  }
  checkDefinitionOptions(options, where);
  const inside: Definition = {
    name,
    input,
    output,
    slots: slotsOf(dependsOn, where),
    options: options as Definition["options"],
    handler: run === undefined ? undefined : { kind: "single", run: run as never },
  };
  return build(inside) as DefinedTask<InputSchema, OutputSchema, Slots, Run>;
}

/** A dependency slot that takes a task which may fail: the handler gets its outcome, not its output. */
export function allowFailure<Output>(task: TaskDefinition<never, Output, any, any>): AllowedFailure<Output> {
  if (definitionOf(task) === undefined)
    throw new OmniQError("OMNIQ_INVALID_OPTION", "allowFailure takes a task definition");
  return { allowFailure: task as AnyTaskDefinition<Output> };
}

function notASchema(what: string): OmniQError {
  return new OmniQError(
    "OMNIQ_INVALID_OPTION",
    `${what} must be a Standard Schema (zod, valibot, arktype, ... or typeOnly<T>())`,
  );
}

function slotsOf(given: DependencySlots | undefined, where: string): Readonly<Record<string, SlotDefinition>> {
  const slots: [string, SlotDefinition][] = [];
  for (const [slot, value] of Object.entries(given ?? {})) {
    checkKey(`A slot in dependsOn ${where}`, slot);
    const many = Array.isArray(value);
    const source: unknown = many ? value[0] : value;
    const allowed = (source as AllowedFailure<unknown> | undefined)?.allowFailure;
    const task = definitionOf(allowed ?? source);
    if (task === undefined || (many && value.length !== 1)) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `dependsOn.${slot} ${where} must be a task definition, [definition] or allowFailure(definition)`,
      );
    }
    slots.push([slot, { taskName: task.name, many, allowFailure: allowed !== undefined }]);
  }
  return Object.fromEntries(slots);
}

function build(inside: Definition): TaskDefinition<any, any, any, any> {
  const implement = (handler: HandlerDefinition): never => build({ ...inside, handler }) as never;
  const where = `of task ${JSON.stringify(inside.name)}`;
  const task = {
    name: inside.name,
    with(input?: unknown, options?: object): TaskCall<unknown> {
      return Object.freeze({ task: task as never, input, options: Object.freeze({ ...options }) });
    },
    implement(run: unknown) {
      if (typeof run !== "function") {
        throw new OmniQError(
          "OMNIQ_INVALID_OPTION",
          `The handler ${where} must be a function, not ${describeType(run)}`,
        );
      }
      return implement({ kind: "single", run: run as never });
    },
    implementBatch(options: BatchOptions, run: BatchHandler<unknown, unknown, any>) {
      refuseUnknown(options, ["maxSize", "maxWaitMs"], `implementBatch ${where}`);
      checkInteger(`maxSize ${where}`, options.maxSize, 1, 10_000);
      if (options.maxWaitMs !== undefined) checkInteger(`maxWaitMs ${where}`, options.maxWaitMs, 0, 600_000);
      if (typeof run !== "function") {
        throw new OmniQError(
          "OMNIQ_INVALID_OPTION",
          `The handler ${where} must be a function, not ${describeType(run)}`,
        );
      }
      return implement({ kind: "batch", options, run });
    },
    ...(inside.handler === undefined
      ? {}
      : {
          handler: inside.handler.kind,
          invoke: async (input: unknown, context: Partial<TaskContext<any>> = {}): Promise<unknown> =>
            await invoke(inside, input, context),
        }),
  };
  return withDefinition(task, inside) as unknown as TaskDefinition<any, any, any, any>;
}

/** Runs a handler as a worker would: input parsed, output checked. */
async function invoke(inside: Definition, input: unknown, given: Partial<TaskContext<any>>): Promise<unknown> {
  const handler = inside.handler as HandlerDefinition;
  const parsed = await parseWith(inside.input, input, `The input of task ${JSON.stringify(inside.name)}`);
  const unavailable = async (): Promise<never> => {
    throw new OmniQError(
      "OMNIQ_UNSUPPORTED",
      "There is no queue in a handler that was invoked directly; pass `enqueue` in the context",
    );
  };
  const context: TaskContext<any> = {
    id: "invoked",
    name: inside.name,
    queue: inside.options.queue ?? "default",
    attempt: 1,
    maxAttempts: inside.options.retry?.maxAttempts ?? 5,
    enqueuedAt: Date.now(),
    headers: {},
    dependencies: {},
    signal: new AbortController().signal,
    log: consoleLogger("silent"),
    progress: () => undefined,
    enqueue: unavailable,
    enqueueMany: unavailable,
    ...given,
  };
  let output: unknown;
  if (handler.kind === "single") {
    output = await handler.run(parsed, context);
  } else {
    const { id, attempt, headers, dependencies, signal } = context;
    const outputs = await handler.run([{ id, attempt, headers, dependencies, signal, input: parsed }], context);
    if (outputs.length !== 1) {
      throw new OmniQError(
        "OMNIQ_TASK_FAILED",
        `The batch handler of task ${JSON.stringify(inside.name)} gave ${outputs.length} outputs for 1 task`,
      );
    }
    output = outputs[0];
    if (output instanceof OmniQError) throw output;
  }
  await parseWith(inside.output, output, `The output of task ${JSON.stringify(inside.name)}`);
  return output;
}
