// Runs handlers in threads or child processes by tinypool (small, without dependencies, kept by the Vitest people), loaded when needed:
// it runs both kinds, and an aborted attempt really ends its thread or process, which is replaced.
import { MessageChannel } from "node:worker_threads";
import { OmniQError } from "../errors.ts";
import type { Runtime } from "../runtime.ts";
import { jsonSerializer } from "../serializer.ts";
import { entryFlags, entryUrl } from "./entry-url.ts";
import { copyError } from "./error-copy.ts";
import type { Context, Execution } from "./execution.ts";
import { RemoteEnds } from "./remote-ends.ts";
import { RemoteHost } from "./remote-host.ts";
import { fromRemote, remoteOutcomes } from "./remote-protocol.ts";
import type { RemoteAttempt, RemoteOutcome, RemoteTask, ToRemote } from "./remote-protocol.ts";
import type { Tinypool } from "tinypool";

/** How long a handler may go on after its abort signal has fired, before its thread or process is ended. */
const cleanUpMs = 1_000;
/** How long a close waits for threads and processes; a process that does not end is killed after one second. */
const closeMs = 2_000;

/** Why an attempt was ended on purpose: its outcome is decided already. */
const wanted = new Error("The attempt was aborted");

/** One attempt: a task or a batch, each with its context. */
export interface RemoteRun {
  readonly executions: readonly Execution[];
  readonly contexts: readonly Context[];
  readonly tasks: readonly RemoteTask[];
  readonly batch: boolean;
  readonly maxValueBytes: number;
}

/** A pool of threads or processes. */
export class RemotePool {
  readonly #pool: Tinypool;
  readonly #kind: "thread" | "process";
  readonly #modules: readonly string[];
  readonly #host: RemoteHost;
  readonly #ends: RemoteEnds;
  #next = 1;

  private constructor(pool: Tinypool, kind: "thread" | "process", modules: readonly string[], runtime: Runtime) {
    this.#pool = pool;
    this.#kind = kind;
    this.#modules = modules;
    this.#host = new RemoteHost(runtime);
    this.#ends = new RemoteEnds(pool, kind);
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
    const entry = entryUrl(import.meta.url, "remote-entry");
    if (entry === undefined)
      throw new OmniQError(
        "OMNIQ_UNSUPPORTED",
        `Workers of kind "${kind}" need files of @omniq/core that a bundle does not carry: leave it out of the bundle (external), and install it`,
      );
    const pool = new Tinypool({
      filename: entry.href,
      runtime: kind === "thread" ? "worker_threads" : "child_process",
      minThreads: concurrency,
      maxThreads: concurrency,
      concurrentTasksPerWorker: 1,
      ...(execArgv && { execArgv }),
      // A process has this one's environment, as threads have by themselves.
      ...(kind === "process" && { env: process.env as Record<string, string> }),
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
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([
      this.#pool.destroy().catch(() => undefined),
      new Promise((resolve) => {
        timer = setTimeout(resolve, closeMs);
      }),
    ]);
    clearTimeout(timer);
  }

  /** Outcomes in order. Rejects when the thread or the process ended, by itself or because all of its tasks were aborted. */
  async run({ executions, contexts, tasks, batch, maxValueBytes }: RemoteRun): Promise<readonly RemoteOutcome[]> {
    const id = this.#next++;
    const kill = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    let send: (message: ToRemote) => void = () => undefined;
    let close = (): void => undefined;
    let aborted = 0;
    const receive = (said: unknown): void => {
      // A handler can send anything on a process's channel, at any time.
      const message = fromRemote(said);
      if (message?.omniq === id) this.#host.receive(message, contexts, (answer) => send(answer));
    };
    const tell = (index: number, reason: OmniQError): void =>
      send({ omniq: id, type: "abort", index, reason: jsonSerializer.serialize(copyError(reason)) });
    executions.forEach((execution, index) => {
      execution.onAbort = (reason: OmniQError): void => {
        tell(index, reason);
        aborted += 1;
        if (aborted < executions.length) return;
        // A time limit is hard; other reasons leave a moment to clean up.
        if (reason.code === "OMNIQ_TIMEOUT") kill.abort(wanted);
        else timer ??= setTimeout(() => kill.abort(wanted), cleanUpMs);
      };
    });
    const attempt: RemoteAttempt = { id, modules: this.#modules, tasks, batch, maxValueBytes };
    let channel: object = {};
    // An attempt may wait for a thread or process that is being replaced; the pool looks at its channel when it is given to one.
    const given = (): void =>
      queueMicrotask(() => {
        member = this.#ends.find(channel);
      });
    let member: ReturnType<RemoteEnds["find"]>;
    let told: Error | undefined;
    try {
      let running: Promise<unknown>;
      if (this.#kind === "thread") {
        channel = {
          get onMessage(): undefined {
            given();
            return undefined;
          },
        };
        const { port1, port2 } = new MessageChannel();
        port1.on("message", receive);
        send = (message) => port1.postMessage(message);
        close = () => port1.close();
        let over = false;
        running = this.#pool
          .run({ ...attempt, port: port2 }, { signal: kill.signal, transferList: [port2], channel })
          .finally(() => {
            over = true;
          });
        // A thread that ends by process.exit() tells nobody but its ports; one that has answered closes its port, too.
        const gone = new Promise<never>((_, reject) => {
          port1.on("close", () => {
            setTimeout(() => {
              if (over) return;
              void this.#ends.why(member).then((why) => {
                told = why;
                kill.abort();
                reject(why);
              });
            }, 100).unref();
          });
        });
        gone.catch(() => undefined);
        running = Promise.race([running, gone]);
      } else {
        let deliver: ((message: unknown) => void) | undefined;
        send = (message) => deliver?.(message);
        channel = {
          onMessage: (callback: (message: any) => void) => {
            given();
            deliver = callback;
          },
          postMessage: receive,
        };
        running = this.#pool.run(attempt, { signal: kill.signal, channel });
      }
      for (const [index, execution] of executions.entries())
        if (execution.aborted !== undefined) tell(index, execution.aborted);
      let answer: unknown;
      try {
        answer = await running;
      } catch (error) {
        if (kill.signal.reason === wanted || error === told) throw error;
        throw await this.#ends.why(member, error);
      }
      const outcomes = remoteOutcomes(answer, executions.length);
      if (outcomes === undefined) throw new Error(`The ${this.#kind} answered with something else than outcomes`);
      return outcomes;
    } finally {
      clearTimeout(timer);
      for (const execution of executions) execution.onAbort = undefined;
      close();
    }
  }
}
