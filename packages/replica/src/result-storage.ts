// The result storage component over an executor; waiters are found by the task that they wait for.
import type {
  CallOptions,
  NewResult,
  Page,
  PageRequest,
  ResultFilter,
  ResultReference,
  ResultStorage,
  ResultStorageCapabilities,
  StoredResult,
} from "@omniq/core";
import type { Changes, Executor } from "./executor.ts";
import { getResult } from "./results.ts";
import { Lifetime, startTimer } from "./waiting.ts";

export class ReplicaResultStorage implements ResultStorage {
  readonly component = "result-storage";
  readonly backend: object;
  readonly capabilities: ResultStorageCapabilities;
  readonly #executor: Executor;
  readonly #lifetime: Lifetime = new Lifetime("result storage");
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #unsubscribe: () => void;

  constructor(executor: Executor, capabilities: ResultStorageCapabilities, backend: object) {
    this.#executor = executor;
    this.capabilities = capabilities;
    this.backend = backend;
    this.#unsubscribe = executor.subscribe((changes) => this.#wake(changes));
  }

  async put(results: readonly NewResult[], options: CallOptions = {}): Promise<readonly StoredResult[]> {
    this.#lifetime.check(options.signal);
    const [stored] = await this.#executor.execute([{ verb: "putResults", results }], options);
    return stored;
  }
  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredResult | undefined)[]> {
    this.#lifetime.check(options.signal);
    const [results] = await this.#executor.execute([{ verb: "getResults", ids }], options);
    return results;
  }

  async wait(
    references: readonly ResultReference[],
    waitMs: number,
    options: CallOptions = {},
  ): Promise<readonly StoredResult[]> {
    const found = await this.get(
      references.map(({ taskId }) => taskId),
      options,
    );
    const there = found.filter(
      (result, index): result is StoredResult => result !== undefined && result.run >= (references[index]?.run ?? 0),
    );
    if (there.length > 0 || waitMs <= 0) return there;
    return await this.#wait(references, waitMs, options.signal);
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<void> {
    this.#lifetime.check(options.signal);
    await this.#executor.execute([{ verb: "deleteResults", ids }], options);
  }
  async list(filter: ResultFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredResult>> {
    this.#lifetime.check(options.signal);
    const [results] = await this.#executor.execute([{ verb: "listResults", filter, page }], options);
    return results;
  }
  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#lifetime.check(options.signal);
    const [removed] = await this.#executor.execute([{ verb: "sweepResults", limit }], options);
    return removed;
  }
  async close(): Promise<void> {
    this.#lifetime.end();
    this.#unsubscribe();
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #wake(changes: Changes): void {
    if (this.#waiting.size === 0) return;
    for (const id of changes.all ? [...this.#waiting.keys()] : changes.results) {
      for (const look of [...(this.#waiting.get(id) ?? [])]) look();
    }
  }

  /** What this process knows by now of the results waited for. */
  #known(references: readonly ResultReference[]): StoredResult[] {
    const state = this.#executor.view();
    const now = this.#executor.now();
    return references.flatMap(({ taskId, run }) => {
      const result = getResult(state, taskId, now);
      return result !== undefined && result.run >= run ? [result] : [];
    });
  }

  #wait(
    references: readonly ResultReference[],
    waitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<readonly StoredResult[]> {
    return new Promise((resolve, reject) => {
      const finish = (): void => {
        clearTimeout(timeout);
        forgetEnd();
        for (const { taskId } of references) {
          const looks = this.#waiting.get(taskId);
          looks?.delete(look);
          if (looks?.size === 0) this.#waiting.delete(taskId);
        }
      };
      const look = (): void => {
        const results = this.#known(references);
        if (results.length === 0) return;
        finish();
        resolve(results);
      };
      const fail = (reason: unknown): void => {
        finish();
        reject(reason as Error);
      };
      const timeout = startTimer(waitMs, () => {
        finish();
        resolve([]);
      });
      const forgetEnd = this.#lifetime.onEnd(signal, fail);
      for (const { taskId } of references) {
        const looks = this.#waiting.get(taskId);
        if (looks === undefined) this.#waiting.set(taskId, new Set([look]));
        else looks.add(look);
      }
      try {
        this.#lifetime.check(signal);
        // One may have come between the first look and here.
        look();
      } catch (error) {
        fail(error);
      }
    });
  }
}
