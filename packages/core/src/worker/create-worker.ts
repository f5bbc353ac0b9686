// Makes workers: `run`, `start`, `stop` and `drain` around the engine.
import { isOmniQError, OmniQError } from "../errors.ts";
import { checkInteger } from "../limits.ts";
import type { Runtime } from "../runtime.ts";
import type { DrainSummary, Worker, WorkerOptions } from "../worker.ts";
import { Engine } from "./engine.ts";
import { resolveWorkerOptions, type ResolvedWorkerOptions } from "./options.ts";
import { loadModules, registryOf } from "./registry.ts";
import { RemotePool } from "./remote-pool.ts";
import { onStopSignal } from "./signals.ts";
import { backoffMs, sleep } from "./sleep.ts";
import { Upkeep } from "./upkeep.ts";

/** How long a stop goes on after its grace, for the last settlements and events. */
const lastWordsMs = 2_000;
/** How long it waits for a round of upkeep that is under way, within that. */
const upkeepMs = 1_000;

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
  /** The same, once it is there. */
  #made: Engine | undefined;
  #pool: RemotePool | undefined;
  #started: Promise<void> | undefined;
  #draining: Promise<DrainSummary> | undefined;
  #stopped: Promise<void> | undefined;
  /** Ends pauses of a start that is under way. */
  readonly #stopping = new AbortController();
  /** Ends the grace of a stop that is under way. */
  readonly #hard = new AbortController();
  #resolveStopped: () => void = () => undefined;
  readonly #whenStopped: Promise<void>;

  constructor(runtime: Runtime, options: ResolvedWorkerOptions) {
    this.#runtime = runtime;
    this.#options = options;
    if (options.modules.length === 0) {
      this.#made = new Engine(runtime, options, registryOf(options.tasks), undefined);
      this.#engine = Promise.resolve(this.#made);
    }
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
    if (kind !== "async") {
      const pool = await RemotePool.open(kind, urls, concurrency, this.#runtime);
      if (this.#stopped !== undefined) await pool.close();
      this.#refuseStopped();
      this.#pool = pool;
    }
    this.#made = new Engine(this.#runtime, this.#options, registry, this.#pool);
    return this.#made;
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
    await this.#whenReady();
    this.#refuseStopped();
    engine.begin("wait");
    try {
      await engine.answered();
    } catch (error) {
      if (this.#stopped === undefined) {
        engine.rest();
        await engine.finish(0);
      }
      throw error;
    }
    if (this.#options.upkeep) this.#upkeep.start();
  }
  /** The settings of the client's queues are in place. As all else it waits for a backend that is away. */
  async #whenReady(): Promise<void> {
    for (let failures = 1; this.#stopped === undefined; failures++) {
      try {
        return await this.#runtime.ready();
      } catch (error) {
        if (!isOmniQError(error) || !error.retryable) throw error;
        const pauseMs = backoffMs(failures);
        this.#runtime.logger.warn("The settings of the queues cannot be stored; it is tried again", { pauseMs, error });
        await sleep(pauseMs, this.#stopping.signal);
      }
    }
  }

  async run(): Promise<void> {
    let signalled = false;
    const forget = onStopSignal(() => {
      signalled = true;
      // The second signal: whoever sends it does not want to wait.
      if (this.#stopped !== undefined) this.#hard.abort();
      void this.stop();
    });
    try {
      await this.start().catch((error: unknown) => {
        // Told to stop before it took tasks: that is no failure.
        if (!signalled || !isOmniQError(error, "OMNIQ_CLOSED")) throw error;
      });
      await this.#whenStopped;
      if (signalled) await this.#runtime.close();
    } finally {
      forget();
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
    await this.#runtime.ready();
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
      if (this.#stopped === undefined) await engine.finish(lastWordsMs);
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
    const end = performance.now() + graceMs + lastWordsMs;
    const within = async (work: Promise<unknown> | undefined, ms: number): Promise<void> => {
      if (work === undefined) return;
      const enough = new AbortController();
      await Promise.race([work.catch(() => undefined), sleep(Math.max(0, ms), enough.signal)]);
      enough.abort();
    };
    // Before anything is waited for: from now on nothing is taken.
    this.#made?.rest();
    this.#stopping.abort();
    this.#forgetClose();
    const upkeep = within(this.#upkeep.stop(), upkeepMs);
    // Modules may be loading still.
    if (this.#made === undefined) await within(this.#engine, end - performance.now());
    const engine = this.#made;
    if (engine !== undefined) {
      engine.rest();
      if (!(await engine.settle(graceMs, this.#hard.signal))) {
        engine.release();
        await engine.settle(Math.min(lastWordsMs, end - performance.now()));
      }
      await within(engine.finish(end - performance.now()), end - performance.now());
      engine.abandon();
    }
    await Promise.all([upkeep, this.#pool?.close()]);
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
