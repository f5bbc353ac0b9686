// Runs handlers in threads or child processes by tinypool (small, without dependencies, kept by the Vitest people), loaded when needed:
// it runs both kinds, and an aborted attempt really ends its thread or process, which is replaced.
import { MessageChannel } from "node:worker_threads";
import { OmniQError } from "../errors.ts";
import type { TaskHandle } from "../handle.ts";
import type { Runtime } from "../runtime.ts";
import { jsonSerializer } from "../serializer.ts";
import { entryFlags, entryUrl } from "./entry-url.ts";
import type { Context, Execution } from "./execution.ts";
import { callOf } from "./remote-calls.ts";
import type { FromRemote, RemoteAttempt, RemoteCall, RemoteOutcome, ToRemote } from "./remote-protocol.ts";
import type { Tinypool } from "tinypool";

/** How long a handler may go on after its abort signal has fired, before its thread or process is ended. */
const cleanUpMs = 1_000;

/** One attempt: a task or a batch, each with its context. */
export interface RemoteRun {
  readonly executions: readonly Execution[];
  readonly contexts: readonly Context[];
  readonly batch: boolean;
  readonly maxValueBytes: number;
}

/** A pool of threads or processes. */
export class RemotePool {
  readonly #pool: Tinypool;
  readonly #kind: "thread" | "process";
  readonly #modules: readonly string[];
  readonly #runtime: Runtime;
  readonly #handles = new Map<string, TaskHandle<unknown>>();
  #next = 1;

  private constructor(pool: Tinypool, kind: "thread" | "process", modules: readonly string[], runtime: Runtime) {
    this.#pool = pool;
    this.#kind = kind;
    this.#modules = modules;
    this.#runtime = runtime;
    // A thread that dies between tasks is replaced; without a listener the event would end the process.
    pool.on("error", (error: unknown) => runtime.logger.warn(`A ${kind} of the worker ended by itself`, { error }));
  }

  /** Starts the pool and makes sure that the modules load there. Throws `OMNIQ_INVALID_OPTION` where they do not. */
  static async open(
    kind: "thread" | "process",
    modules: readonly string[],
    concurrency: number,
    runtime: Runtime,
  ): Promise<RemotePool> {
    const { Tinypool } = await import("tinypool");
    const execArgv = entryFlags();
    const pool = new Tinypool({
      filename: entryUrl(import.meta.url, "remote-entry").href,
      runtime: kind === "thread" ? "worker_threads" : "child_process",
      minThreads: concurrency,
      maxThreads: concurrency,
      concurrentTasksPerWorker: 1,
      ...(execArgv && { execArgv }),
      // A handler may leave timers and sockets behind; a thread that sleeps on a lock would stop them.
      useAtomics: false,
      serialization: "advanced",
    });
    const made = new RemotePool(pool, kind, modules, runtime);
    try {
      const failed = (await pool.run({
        id: 0,
        modules,
        tasks: [],
        batch: false,
        maxValueBytes: 0,
      } satisfies RemoteAttempt)) as string | undefined;
      if (failed !== undefined) throw jsonSerializer.deserialize(failed);
    } catch (cause) {
      await made.close();
      if (cause instanceof OmniQError) throw cause;
      throw new OmniQError("OMNIQ_INVALID_OPTION", `worker: the ${kind} for the handlers cannot start; see the cause`, {
        cause,
      });
    }
    return made;
  }

  async close(): Promise<void> {
    await Promise.race([
      this.#pool.destroy().catch(() => undefined),
      new Promise((resolve) => {
        setTimeout(resolve, 5_000).unref();
      }),
    ]);
  }

  /** Outcomes in order. Rejects when the thread or the process ended, by itself or because all of its tasks were aborted. */
  async run({ executions, contexts, batch, maxValueBytes }: RemoteRun): Promise<readonly RemoteOutcome[]> {
    const id = this.#next++;
    const { serializer } = this.#runtime;
    // Another serializer cannot cross: texts are made anew on this side.
    const own = (text: string): string =>
      serializer === jsonSerializer ? text : jsonSerializer.serialize(serializer.deserialize(text));
    // What a queue wrote by itself is plain JSON, which a serializer of the user's may not read.
    const ownError = (text: string): string => {
      try {
        return own(text);
      } catch {
        return text;
      }
    };
    const tasks = executions.map((execution, index) => {
      const { task } = execution.lease;
      const { name, queue, attempt, maxAttempts, enqueuedAt, headers } = contexts[index] as Context;
      const dependencies = execution.lease.dependencies.map((one) => ({
        ...one,
        value: one.value === undefined ? undefined : own(one.value),
        error: one.error === undefined ? undefined : ownError(one.error),
      }));
      return {
        id: task.id,
        name,
        queue,
        attempt,
        maxAttempts,
        enqueuedAt,
        headers,
        payload: own(task.payload),
        slots: execution.envelope.slots,
        dependencies,
      };
    });
    const kill = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let send: (message: ToRemote) => void = () => undefined;
    let close = (): void => undefined;
    let aborted = 0;
    const receive = (message: FromRemote): void => {
      if (message.omniq !== id) return;
      this.#receive(message, contexts, (answer) => send(answer));
    };
    executions.forEach((execution, index) => {
      const abort = (reason: OmniQError): void => {
        send({ omniq: id, type: "abort", index, reason: jsonSerializer.serialize(reason) });
        aborted += 1;
        if (aborted < executions.length) return;
        // A time limit is hard; other reasons leave a moment to clean up.
        if (reason.code === "OMNIQ_TIMEOUT") kill.abort();
        else timer ??= setTimeout(() => kill.abort(), cleanUpMs);
      };
      execution.onAbort = abort;
    });
    const attempt: RemoteAttempt = { id, modules: this.#modules, tasks, batch, maxValueBytes };
    try {
      let running: Promise<unknown>;
      if (this.#kind === "thread") {
        const { port1, port2 } = new MessageChannel();
        port1.on("message", receive);
        send = (message) => port1.postMessage(message);
        close = () => port1.close();
        // A thread that ends by process.exit() tells nobody but its ports.
        const gone = new Promise<never>((_, reject) => {
          port1.on("close", () => {
            setTimeout(() => {
              kill.abort();
              reject(new Error("The thread ended while it ran the task"));
            }, 100).unref();
          });
        });
        gone.catch(() => undefined);
        running = Promise.race([
          this.#pool.run({ ...attempt, port: port2 }, { signal: kill.signal, transferList: [port2] }),
          gone,
        ]);
      } else {
        let deliver: ((message: unknown) => void) | undefined;
        send = (message) => deliver?.(message);
        running = this.#pool.run(attempt, {
          signal: kill.signal,
          channel: {
            onMessage: (callback: (message: any) => void) => {
              deliver = callback;
            },
            postMessage: (message: unknown) => receive(message as FromRemote),
          },
        });
      }
      for (const [index, execution] of executions.entries()) {
        if (execution.aborted !== undefined)
          send({ omniq: id, type: "abort", index, reason: jsonSerializer.serialize(execution.aborted) });
      }
      return (await running) as readonly RemoteOutcome[];
    } finally {
      clearTimeout(timer);
      for (const execution of executions) execution.onAbort = undefined;
      close();
    }
  }

  #receive(message: FromRemote, contexts: readonly Context[], answer: (message: ToRemote) => void): void {
    if (message.type === "call") {
      const reply = (ok: boolean, value: unknown): void => {
        answer({
          omniq: message.omniq,
          type: "answer",
          call: message.call,
          ok,
          value: jsonSerializer.serialize(value),
        });
      };
      this.#call(message.what)
        .then((value) => reply(true, value))
        .catch((error: unknown) => reply(false, error));
      return;
    }
    const context = contexts[message.index] ?? contexts[0];
    if (context === undefined) return;
    if (message.type === "progress") context.progress(message.fraction, message.message);
    else
      context.log[message.level](
        message.message,
        message.fields === undefined
          ? undefined
          : (jsonSerializer.deserialize(message.fields) as Record<string, unknown>),
      );
  }

  async #call(what: RemoteCall): Promise<unknown> {
    if (what.verb === "enqueue") {
      const calls = what.calls.map(callOf);
      const handles = what.many
        ? ((await this.#runtime.enqueueMany(calls)) as readonly TaskHandle<unknown>[])
        : [
            await (
              this.#runtime.enqueue as (task: unknown, input: unknown, options: unknown) => Promise<TaskHandle<unknown>>
            )(calls[0]?.task, calls[0]?.input, calls[0]?.options),
          ];
      for (const handle of handles) {
        this.#handles.set(handle.id, handle);
        // Handles are kept for later questions of the handler; old ones give way.
        if (this.#handles.size > 10_000) this.#handles.delete(this.#handles.keys().next().value as string);
      }
      return handles.map(({ id, deduplicated }) => ({ id, deduplicated }));
    }
    const handle = this.#handles.get(what.taskId);
    if (handle === undefined)
      throw new OmniQError(
        "OMNIQ_TASK_NOT_FOUND",
        `The handle of ${what.taskId} is too old; wait for results outside of the handler`,
        { taskId: what.taskId },
      );
    if (what.verb === "status") return await handle.status();
    if (what.verb === "cancel") return await handle.cancel();
    return await handle[what.verb]({ timeoutMs: what.timeoutMs });
  }
}
