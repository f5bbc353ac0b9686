// The result storage on SQLite: one row for each task, the first result of the highest run.
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
import { listKey, readSequencePage, writeCursor } from "./pages.ts";
import { dropResults, isSoundResult, putResult, resultColumns, toStoredResult, type ResultRow } from "./result-rows.ts";
import type { Sql, SqlValue } from "./sql.ts";
import { Lifetime, type Store } from "./store.ts";

const byId = `SELECT ${resultColumns} FROM {p}_past WHERE task_id = ? AND status IS NOT NULL AND (expires_at IS NULL OR expires_at > ?)`;
const standing = `SELECT ${resultColumns} FROM {p}_past WHERE task_id = ?`;

export class SqliteResultStorage implements ResultStorage {
  readonly component = "result-storage" as const;
  readonly backend: object;
  readonly capabilities: ResultStorageCapabilities;
  readonly #store: Store;
  readonly #life: Lifetime;

  constructor(backend: object, store: Store, capabilities: ResultStorageCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#life = new Lifetime("result storage", onClose);
  }

  async put(results: readonly NewResult[], options: CallOptions = {}): Promise<readonly StoredResult[]> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) =>
        results.map((result) => {
          putResult(tx, result);
          const row = tx.sql.get<ResultRow>(standing, result.taskId) as ResultRow;
          return this.#show(row);
        }),
      options.signal,
      this.#life.signal,
    );
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredResult | undefined)[]> {
    this.#life.check(options.signal);
    return this.#store.read((sql, now) =>
      ids.map((id) => {
        const row = sql.get<ResultRow>(byId, id, now);
        return row === undefined ? undefined : this.#show(row);
      }),
    );
  }

  async wait(
    references: readonly ResultReference[],
    waitMs: number,
    options: CallOptions = {},
  ): Promise<readonly StoredResult[]> {
    const { signal } = options;
    const ended = this.#life.signal;
    this.#life.check(signal);
    const until = performance.now() + waitMs;
    const ids = [...new Set(references.map((reference) => reference.taskId))];
    for (;;) {
      const listening = this.#store.wakeUp.listen("results", {
        waitMs: until - performance.now(),
        ids,
        signals: [signal, ended],
      });
      try {
        const found = await this.#store.read((sql, now) => this.#findAll(sql, references, now));
        signal?.throwIfAborted();
        if (found.length > 0 || ended.aborted || until <= performance.now()) return found;
        await listening.wait();
      } finally {
        listening.stop();
      }
      signal?.throwIfAborted();
      if (ended.aborted) return [];
    }
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<void> {
    this.#life.check(options.signal);
    await this.#store.write(
      (tx) => {
        for (const id of ids) dropResults(tx, "task_id = ?", id);
      },
      options.signal,
      this.#life.signal,
    );
  }

  async list(filter: ResultFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredResult>> {
    this.#life.check(options.signal);
    const key = listKey("r", filter);
    const { limit, after } = readSequencePage(key, page);
    return this.#store.read((sql, now) => {
      let where = "seq > ? AND status IS NOT NULL AND (expires_at IS NULL OR expires_at > ?)";
      const values: SqlValue[] = [after, now];
      for (const column of ["queue", "name", "status"] as const) {
        const wanted = filter[column];
        if (wanted === undefined) continue;
        where += ` AND ${column} = ?`;
        values.push(wanted);
      }
      const rows = sql.all<ResultRow>(
        `SELECT ${resultColumns} FROM {p}_past WHERE ${where} ORDER BY seq LIMIT ?`,
        ...values,
        limit + 1,
      );
      const items = rows.slice(0, limit);
      const last = items.at(-1);
      const shown = items.map((row) => this.#show(row));
      return rows.length > limit && last !== undefined
        ? { items: shown, next: writeCursor(key, String(last.seq)) }
        : { items: shown };
    });
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    this.#life.check(options.signal);
    return this.#store.write(
      (tx) => dropResults(tx, "seq IN (SELECT seq FROM {p}_past WHERE expires_at <= ? LIMIT ?)", tx.now, limit),
      options.signal,
      this.#life.signal,
    );
  }

  #findAll(sql: Sql, references: readonly ResultReference[], now: number): StoredResult[] {
    const found: StoredResult[] = [];
    for (const { taskId, run } of references) {
      const row = sql.get<ResultRow>(byId, taskId, now);
      const result = row === undefined ? undefined : this.#show(row, run);
      if (result !== undefined && result.run >= run) found.push(result);
    }
    return found;
  }

  #show(row: ResultRow, run?: number): StoredResult {
    if (!isSoundResult(row)) this.#store.damaged("result", String(row.task_id));
    return toStoredResult(row, run);
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
