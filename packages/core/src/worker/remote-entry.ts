// What runs inside a worker's thread or child process: it loads the modules and runs handlers, one attempt at a time.
import { setMaxListeners } from "node:events";
import { parentPort } from "node:worker_threads";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { TaskHandle } from "../handle.ts";
import { jsonSerializer } from "../serializer.ts";
import { isPromise } from "../standard-schema.ts";
import type { BatchTask, Enqueue, EnqueueMany, Logger, TaskCall, TaskContext } from "../task-definition.ts";
import { batchOutputs, checkOutput, dependencyValues, isBatchFailure, outputText, parseInput } from "./attempt.ts";
import { copyError, maxLineLength, textOf } from "./error-copy.ts";
import { AttemptFailed, errorText, failureOf } from "./failures.ts";
import { loadModules, type Registry, type Workable } from "./registry.ts";
import { plainCall } from "./remote-calls.ts";
import { toRemote } from "./remote-protocol.ts";
import type { FromRemote, RemoteAttempt, RemoteCall, RemoteOutcome, RemoteTask, ToRemote } from "./remote-protocol.ts";

let registry: Promise<Registry> | undefined;
const receivers = new Map<number, (message: ToRemote) => void>();
let listening = false;

function listen(): void {
  if (listening) return;
  listening = true;
  process.on("message", (said: unknown) => {
    const message = toRemote(said);
    if (message !== undefined) receivers.get(message.omniq)?.(message);
  });
}

/**
 * In a thread, what a handler posts to its parent comes to the pool, which throws at what it does not know, in the main thread. Nobody else
 * listens there, so it goes nowhere. The pool's own messages have another port.
 */
function muteParent(): void {
  if (parentPort !== null) parentPort.postMessage = () => undefined;
}

function failed(task: RemoteTask, thrown: unknown, maxBytes: number): RemoteOutcome {
  const { error, permanent, delayMs } = failureOf(task, thrown);
  return { ok: false, error: errorText(jsonSerializer, error, maxBytes), permanent, delayMs };
}

/** One side of the conversation that an attempt has with its worker. */
class Conversation {
  readonly #id: number;
  readonly #send: (message: FromRemote) => void;
  readonly controllers: readonly AbortController[];
  readonly #calls = new Map<number, { resolve: (value: any) => void; reject: (error: unknown) => void }>();
  #next = 1;

  constructor(attempt: RemoteAttempt, send: (message: FromRemote) => void) {
    this.#id = attempt.id;
    this.#send = send;
    this.controllers = attempt.tasks.map(() => {
      const controller = new AbortController();
      setMaxListeners(0, controller.signal);
      return controller;
    });
  }
  receive(message: ToRemote): void {
    if (message.type === "abort") {
      this.controllers[message.index]?.abort(jsonSerializer.deserialize(message.reason));
      return;
    }
    const call = this.#calls.get(message.call);
    this.#calls.delete(message.call);
    const value = jsonSerializer.deserialize(message.value);
    if (message.ok) call?.resolve(value);
    else call?.reject(value);
  }
  #call(what: RemoteCall): Promise<any> {
    return new Promise((resolve, reject) => {
      const call = this.#next++;
      this.#calls.set(call, { resolve, reject });
      this.#send({ omniq: this.#id, type: "call", call, what });
    });
  }
  #handle({ id, deduplicated }: { readonly id: string; readonly deduplicated: boolean }): TaskHandle<any> {
    return {
      id,
      deduplicated,
      result: (options) => this.#call({ verb: "result", taskId: id, timeoutMs: options?.timeoutMs }),
      outcome: (options) => this.#call({ verb: "outcome", taskId: id, timeoutMs: options?.timeoutMs }),
      status: () => this.#call({ verb: "status", taskId: id }),
      cancel: () => this.#call({ verb: "cancel", taskId: id }),
      events: () => {
        throw new OmniQError(
          "OMNIQ_UNSUPPORTED",
          "events() of a handle cannot cross out of a thread; follow them elsewhere",
        );
      },
    } as TaskHandle<any>;
  }
  readonly enqueueMany = (async (calls: readonly TaskCall<unknown>[], options?: { readonly transaction?: unknown }) => {
    if (options?.transaction !== undefined)
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        "A transaction cannot cross out of a thread; enqueue without one, or use an async worker",
      );
    const plain = await Promise.all(calls.map(plainCall));
    return (
      (await this.#call({ verb: "enqueue", calls: plain, many: true })) as { id: string; deduplicated: boolean }[]
    ).map((one) => this.#handle(one));
  }) as unknown as EnqueueMany;
  readonly enqueue = (async (
    task: unknown,
    input?: unknown,
    options: { readonly transaction?: unknown; readonly signal?: unknown } = {},
  ) => {
    const { transaction, signal: _signal, ...rest } = options;
    if (transaction !== undefined)
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        "A transaction cannot cross out of a thread; enqueue without one, or use an async worker",
      );
    const plain = await plainCall({ task, input, options: rest } as unknown as TaskCall<unknown>);
    return this.#handle((await this.#call({ verb: "enqueue", calls: [plain], many: false }))[0]);
  }) as unknown as Enqueue;
  log(index: number): Logger {
    const at =
      (level: "debug" | "info" | "warn" | "error") =>
      (message: string, fields?: Readonly<Record<string, unknown>>): void => {
        let text: string | undefined;
        try {
          text = fields === undefined ? undefined : jsonSerializer.serialize(fields);
        } catch {
          text = undefined;
        }
        this.#send({
          omniq: this.#id,
          type: "log",
          index,
          level,
          message: textOf(message, maxLineLength),
          fields: text,
        });
      };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }
  progress(index: number): (fraction: number, message?: string) => void {
    return (fraction, message) => {
      if (typeof fraction !== "number" || !(fraction >= 0 && fraction <= 1))
        throw new OmniQError("OMNIQ_INVALID_OPTION", "progress must be a number from 0 to 1");
      this.#send({
        omniq: this.#id,
        type: "progress",
        index,
        fraction,
        message: message === undefined ? undefined : textOf(message),
      });
    };
  }
}

async function finish(
  task: RemoteTask,
  definition: Workable,
  output: unknown,
  maxBytes: number,
): Promise<RemoteOutcome> {
  await checkOutput(task, definition, output);
  return { ok: true, value: outputText(task, jsonSerializer, output, maxBytes) };
}

/** What a handler is called with. */
interface Made {
  readonly definition: Workable;
  readonly values: Readonly<Record<string, unknown>>;
  readonly input: unknown;
}

async function runAll(attempt: RemoteAttempt, talk: Conversation): Promise<readonly RemoteOutcome[]> {
  const { tasks, maxValueBytes, batch } = attempt;
  const known = await (registry ??= loadModules(attempt.modules));
  const inputs = await Promise.all(
    tasks.map(async (task): Promise<Made | { failure: RemoteOutcome }> => {
      const definition = known.get(task.name);
      try {
        if (definition === undefined)
          throw new AttemptFailed(
            "OMNIQ_UNKNOWN_TASK",
            `The modules of this worker have no task ${JSON.stringify(task.name)}`,
            { taskId: task.id },
          );
        const values = dependencyValues(task, definition, { slots: task.slots }, task.dependencies, jsonSerializer);
        return { definition, values, input: await parseInput(task, definition, jsonSerializer, task.payload) };
      } catch (error) {
        return { failure: failed(task, error, maxValueBytes) };
      }
    }),
  );
  const { enqueue, enqueueMany } = talk;
  const parts = tasks.map((task, index) => {
    const signal = (talk.controllers[index] as AbortController).signal;
    return { task, index, signal, made: inputs[index] as (typeof inputs)[number] };
  });

  if (!batch) {
    return await Promise.all(
      parts.map(async ({ task, index, signal, made }) => {
        if ("failure" in made) return made.failure;
        try {
          const { handler } = made.definition;
          if (handler.kind !== "single") throw new Error("The handler is for batches");
          const { id, name, queue, attempt: number, maxAttempts, enqueuedAt, headers } = task;
          const context: TaskContext<any> = {
            id,
            name,
            queue,
            attempt: number,
            maxAttempts,
            enqueuedAt,
            headers,
            dependencies: made.values,
            signal,
            log: talk.log(index),
            progress: talk.progress(index),
            enqueue,
            enqueueMany,
          };
          return await finish(task, made.definition, await handler.run(made.input, context), maxValueBytes);
        } catch (error) {
          return failed(task, error, maxValueBytes);
        }
      }),
    );
  }
  const good = parts.flatMap((part) => ("failure" in part.made ? [] : [{ ...part, made: part.made }]));
  const outcomes = parts.map(({ made }) => ("failure" in made ? made.failure : undefined));
  const first = good[0];
  if (first !== undefined) {
    try {
      const { handler } = first.made.definition;
      if (handler.kind !== "batch") throw new Error("The handler is not for batches");
      const list = good.map(({ task, signal, made }): BatchTask<unknown, any> => ({
        id: task.id,
        attempt: task.attempt,
        headers: task.headers,
        dependencies: made.values,
        signal,
        input: made.input,
      }));
      const outputs = batchOutputs(
        first.task.name,
        good.length,
        await handler.run(list, {
          signal: AbortSignal.any([first.signal]),
          log: talk.log(first.index),
          enqueue,
          enqueueMany,
        }),
      );
      await Promise.all(
        good.map(async ({ task, index, made }, at) => {
          try {
            const given = outputs[at];
            const output = isPromise(given) ? await given : given;
            if (isBatchFailure(output)) throw output;
            outcomes[index] = await finish(task, made.definition, output, maxValueBytes);
          } catch (error) {
            outcomes[index] = failed(task, error, maxValueBytes);
          }
        }),
      );
    } catch (error) {
      for (const { task, index } of good) outcomes[index] = failed(task, error, maxValueBytes);
    }
  }
  return outcomes as readonly RemoteOutcome[];
}

/** Called by the pool. Without tasks it only loads the modules, and answers with the error's text where they do not load. */
export default async function run(attempt: RemoteAttempt): Promise<readonly RemoteOutcome[] | string | undefined> {
  muteParent();
  if (attempt.tasks.length === 0) {
    try {
      await (registry ??= loadModules(attempt.modules));
      return undefined;
    } catch (error) {
      registry = undefined;
      return jsonSerializer.serialize(
        isOmniQError(error) ? copyError(error) : new OmniQError("OMNIQ_INVALID_OPTION", textOf(error)),
      );
    }
  }
  const { port, id } = attempt;
  const talk = new Conversation(attempt, (message) => {
    if (port !== undefined) port.postMessage(message);
    else process.send?.(message);
  });
  if (port !== undefined) {
    port.on("message", (said: unknown) => {
      const message = toRemote(said);
      if (message !== undefined) talk.receive(message);
    });
  } else {
    listen();
    receivers.set(id, (message) => talk.receive(message));
  }
  try {
    return await runAll(attempt, talk);
  } finally {
    receivers.delete(id);
    // Late words of a handler that was not awaited find no ear; the port itself goes with the answer.
    setImmediate(() => port?.close());
  }
}
