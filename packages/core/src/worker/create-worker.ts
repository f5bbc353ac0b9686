// Makes workers: `run`, `start`, `stop` and `drain` around the engine.
import { OmniQError } from "../errors.ts";
import { checkInteger } from "../limits.ts";
import type { Runtime } from "../runtime.ts";
import type { DrainSummary, Worker, WorkerOptions } from "../worker.ts";
import { Engine } from "./engine.ts";
import { resolveWorkerOptions, type ResolvedWorkerOptions } from "./options.ts";
import { loadModules, registryOf } from "./registry.ts";
import { RemotePool } from "./remote-pool.ts";
import { Upkeep } from "./upkeep.ts";

/** How long a stop waits for the last settlements when the backend does not answer. */
const lastWordsMs = 5_000;

/**
 * Makes a worker. The options are checked at once (`OMNIQ_INVALID_OPTION`); modules load and threads start with the first `start`, `run` or
 * `drain`.
 */
export function createWorker(runtime: Runtime, options: WorkerOptions): Worker {
  return new QueueWorker(runtime, resolveWorkerOptions(runtime, options));
}

class QueueWorker implements Worker {
  readonly #runtime: Runtime;
  readonly #options: ResolvedWorkerOptions;
  readonly #upkeep: Upkeep;
  readonly #forgetClose: () => void;
  #engine: Promise<Engine> | undefined;
  #pool: RemotePool | undefined;
  #started: Promise<void> | undefined;
  #draining: Promise<DrainSummary> | undefined;
  #stopped: Promise<void> | undefined;
  /** Ends the grace of a stop that is under way. */
  readonly #hard = new AbortController();
  #resolveStopped: () => void = () => undefined;
  readonly #whenStopped: Promise<void>;

  constructor(runtime: Runtime, options: ResolvedWorkerOptions) {
    this.#runtime = runtime;
    this.#options = options;
    if (options.modules.length === 0)
      this.#engine = Promise.resolve(new Engine(runtime, options, registryOf(options.tasks), undefined));
    this.#upkeep = new Upkeep(runtime);
    this.#whenStopped = new Promise((resolve) => {
      this.#resolveStopped = resolve;
    });
    this.#forgetClose = runtime.onClose(() => this.stop());
  }

  #open(): Promise<Engine> {
    this.#engine ??= this.#load().catch((error: unknown) => {
      this.#engine = undefined;
      throw error;
    });
    return this.#engine;
  }
  async #load(): Promise<Engine> {
    const { kind, modules, concurrency } = this.#options;
    const urls = modules.map((module) => module.href);
    const registry = await loadModules(urls);
    if (kind !== "async") this.#pool = await RemotePool.open(kind, urls, concurrency, this.#runtime);
    return new Engine(this.#runtime, this.#options, registry, this.#pool);
  }
  #refuseStopped(): void {
    if (this.#stopped !== undefined || this.#runtime.closed.aborted) {
      throw new OmniQError("OMNIQ_CLOSED", "The worker was stopped; make a new one");
    }
  }

  async start(): Promise<void> {
    this.#refuseStopped();
    if (this.#draining !== undefined)
      throw new OmniQError("OMNIQ_INVALID_OPTION", "worker: it drains; start it afterwards, or start another");
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined;
      throw error;
    });
    await this.#started;
  }
  async #start(): Promise<void> {
    const engine = await this.#open();
    this.#refuseStopped();
    engine.begin("wait");
    if (this.#options.upkeep) this.#upkeep.start();
  }

  async run(): Promise<void> {
    const signalled = (): void => {
      if (this.#stopped === undefined) {
        void this.stop();
        return;
      }
      // The second signal: whoever sends it does not want to wait.
      this.#hard.abort();
    };
    process.on("SIGINT", signalled);
    process.on("SIGTERM", signalled);
    try {
      await this.start();
      await this.#whenStopped;
    } finally {
      process.off("SIGINT", signalled);
      process.off("SIGTERM", signalled);
    }
  }

  drain(): Promise<DrainSummary> {
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }
  async #drain(): Promise<DrainSummary> {
    this.#refuseStopped();
    if (this.#started !== undefined)
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        "worker: it was started and takes tasks already; drain is for a worker that was not",
      );
    const engine = await this.#open();
    engine.takeCounts();
    try {
      for (;;) {
        if (this.#options.upkeep) await this.#upkeep.once(true);
        engine.begin("drain");
        await engine.drained();
        // What upkeep lets go may be ready now.
        const changed = this.#options.upkeep ? await this.#upkeep.once(true) : 0;
        if (changed === 0 || this.#stopped !== undefined) break;
      }
    } finally {
      engine.rest();
      if (this.#stopped === undefined) await engine.finish();
    }
    return engine.takeCounts();
  }

  stop(options: { readonly graceMs?: number | undefined } = {}): Promise<void> {
    const graceMs = options.graceMs ?? this.#options.graceMs;
    try {
      checkInteger("worker: graceMs", graceMs, 0);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    this.#stopped ??= this.#stop(graceMs).finally(() => this.#resolveStopped());
    return this.#stopped;
  }
  async #stop(graceMs: number): Promise<void> {
    this.#forgetClose();
    const engine = await this.#engine?.catch(() => undefined);
    await this.#upkeep.stop();
    if (engine !== undefined) {
      engine.rest();
      if (!(await engine.settle(graceMs, this.#hard.signal))) {
        engine.release();
        await engine.settle(lastWordsMs);
      }
      await engine.finish();
      engine.abandon();
    }
    await this.#pool?.close();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
