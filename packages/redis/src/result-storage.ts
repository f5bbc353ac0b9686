// The result storage on Redis: a result lives in the record of its task, or in a hash, until its minute's bucket is swept.
import {
  OmniQError,
  type CallOptions,
  type NewResult,
  type Page,
  type PageRequest,
  type ResultFilter,
  type ResultReference,
  type ResultStorage,
  type ResultStorageCapabilities,
  type StoredResult,
} from "@omniq/core";
import { byBytes } from "./by-bytes.ts";
import { isDamaged, letterOf, readResult, resultFields, writeOutcome } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { DamageReports } from "./damage-reports.ts";
import { Lifetime } from "./lifetime.ts";
import type { Notices } from "./notices.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";

/** How long word that was left is relied on: then it looks again, should a message have been lost. */
const heardMs = 5_000;
const listBudget = 2_000;

export class RedisResultStorage implements ResultStorage {
  readonly component = "result-storage" as const;
  readonly backend: object;
  readonly capabilities: ResultStorageCapabilities;
  readonly #connection: Connection;
  readonly #notices: Notices;
  readonly #damage: DamageReports;
  readonly #life: Lifetime;

  constructor(
    backend: object,
    connection: Connection,
    notices: Notices,
    damage: DamageReports,
    capabilities: ResultStorageCapabilities,
    onClose: () => Promise<void>,
  ) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#connection = connection;
    this.#notices = notices;
    this.#damage = damage;
    this.#life = new Lifetime("result storage", onClose);
  }

  async put(results: readonly NewResult[], options: CallOptions = {}): Promise<readonly StoredResult[]> {
    this.#life.check(options.signal);
    if (results.length === 0) return [];
    const stored: StoredResult[] = [];
    for (const run of byBytes(results, ({ value = "", error = "" }) => value.length + error.length, "A result"))
      stored.push(...(await this.#putRun(run)));
    return stored;
  }

  async #putRun(results: readonly NewResult[]): Promise<readonly StoredResult[]> {
    const args: (string | number)[] = [results.length];
    for (const result of results) {
      const { taskId, run, finishedAt, ttlMs, value, error } = result;
      args.push(taskId, run, resultFields(result), finishedAt ?? "", ttlMs ?? "-", writeOutcome(value, error));
    }
    const records = await this.#connection.write<readonly string[]>("putResults", args);
    return records.map((record, index) => this.#read(results[index]?.taskId ?? "", record));
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredResult | undefined)[]> {
    this.#life.check(options.signal);
    const records: (string | 0)[] = [];
    while (records.length < ids.length)
      records.push(...(await this.#connection.run<readonly (string | 0)[]>("getResults", ids.slice(records.length))));
    return records.map((record, index) => (record === 0 ? undefined : this.#read(ids[index] as string, record)));
  }

  async wait(
    references: readonly ResultReference[],
    waitMs: number,
    options: CallOptions = {},
  ): Promise<readonly StoredResult[]> {
    const { signal } = options;
    const ended = this.#life.signal;
    this.#life.check(signal);
    if (references.length === 0) return [];
    const until = performance.now() + waitMs;
    const runs = new Map<string, number>();
    for (const { taskId, run } of references) runs.set(taskId, Math.min(run, runs.get(taskId) ?? run));
    const ids = [...runs.keys()];
    const found = new Map<string, StoredResult>();
    let woken = false;
    let resolve: (() => void) | undefined;
    const wake = (): void => {
      woken = true;
      resolve?.();
    };
    const heard = (id: string, record: string | undefined): void => {
      const result = record === undefined ? undefined : readResult(id, record);
      if (result !== undefined && result.run >= (runs.get(id) ?? 1)) found.set(id, result);
      wake();
    };
    const stop = waitMs > 0 ? this.#notices.listen(ids, heard) : () => undefined;
    const signals = [signal, ended].filter((one) => one !== undefined);
    for (const one of signals) one.addEventListener("abort", wake, { once: true });
    try {
      if (waitMs > 0) await this.#notices.ready();
      for (;;) {
        woken = signals.some((one) => one.aborted);
        // Word can arrive before it is left, and it is left in the step that looks: nothing falls in between. Where it was left already, by an
        // earlier wait too, and did not arrive, there is nothing to look for; but the last look is at the server itself.
        const now = performance.now();
        const over = now >= until;
        const open = over ? references : references.filter((one) => this.#notices.heardUntil(one) <= now);
        if (open.length > 0) for (const result of await this.#look(open, !over)) found.set(result.taskId, result);
        signal?.throwIfAborted();
        if (found.size > 0 || ended.aborted || over) return [...found.values()];
        if (!woken) {
          const known = Math.min(...references.map((one) => this.#notices.heardUntil(one)));
          let timer: NodeJS.Timeout | undefined;
          await new Promise<void>((done) => {
            resolve = done;
            timer = setTimeout(done, Math.max(1, Math.min(until, known) - performance.now()));
          });
          clearTimeout(timer);
        }
        signal?.throwIfAborted();
        if (ended.aborted || found.size > 0) return [...found.values()];
      }
    } catch (error) {
      if (ended.aborted && signal?.aborted !== true) return [];
      throw error;
    } finally {
      stop();
      for (const one of signals) one.removeEventListener("abort", wake);
    }
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    if (ids.length > 0) await this.#connection.run("deleteResults", ids);
  }

  async list(filter: ResultFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredResult>> {
    this.#life.check(options.signal);
    const key = listKey("r", filter);
    const { limit, after } = readPage(key, page);
    const match = after === undefined ? undefined : /^(\d+|inf) (\d+)$/.exec(after);
    if (match === null) {
      throw new OmniQError("OMNIQ_INVALID_OPTION", "The cursor is damaged: give a page's `next` as it was");
    }
    let [, bucket = "", number = "0"] = match ?? [];
    const items: StoredResult[] = [];
    const places: string[] = [];
    while (items.length <= limit) {
      const [found, nextBucket, nextNumber] = await this.#connection.run<readonly [readonly string[], string, string]>(
        "listResults",
        [
          bucket,
          number,
          limit + 1 - items.length,
          listBudget,
          filter.queue ?? "",
          filter.name ?? "",
          filter.status === undefined ? "" : letterOf(filter.status),
        ],
      );
      for (let index = 0; index + 2 < found.length; index += 3) {
        items.push(this.#read(found[index] as string, found[index + 1] as string));
        places.push(found[index + 2] as string);
      }
      if (nextBucket === "") break;
      [bucket, number] = [nextBucket, nextNumber];
    }
    if (items.length <= limit) return { items };
    return { items: items.slice(0, limit), next: writeCursor(key, places[limit - 1] as string) };
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    return this.#connection.run<number>("sweepResults", [limit]);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #read(taskId: string, record: string): StoredResult {
    const result = readResult(taskId, record);
    if (isDamaged(result)) this.#damage.tell("result", taskId);
    return result;
  }

  /** `listens`: it leaves word for what is not there. */
  async #look(references: readonly ResultReference[], listens: boolean): Promise<StoredResult[]> {
    const ids = references.map(({ taskId }) => taskId);
    const args: (string | number)[] = listens ? [this.#notices.channel, heardMs + 1_000] : ["", 0];
    const nonces = listens ? this.#notices.left(references, performance.now() + heardMs) : [];
    for (const [index, { taskId, run }] of references.entries()) args.push(taskId, run, nonces[index] ?? "-");
    let left = false;
    try {
      const found = await this.#connection.run<readonly string[]>("waitResults", args);
      // Where something is found, word is left for nothing.
      left = found.length === 0;
      const results: StoredResult[] = [];
      for (let index = 0; index + 1 < found.length; index += 2)
        results.push(this.#read(found[index] as string, found[index + 1] as string));
      return results;
    } finally {
      if (listens && !left) this.#notices.forget(ids);
    }
  }
}
