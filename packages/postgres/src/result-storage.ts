// The result storage on PostgreSQL: one row for each task, the first result of the highest run.
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
import { Columns, wholeMs } from "./columns.ts";
import type { Connection, Row } from "./connection.ts";
import { Damage, damagedText, isStatus, isTime, isWhole } from "./damage.ts";
import { listKey, readPage, writeCursor } from "./pages.ts";
import { Lifetime, type Store } from "./store.ts";

const columns = "task_id, run, attempt, name, queue, status, finished_at, expires_at, error, value";
const current = "status IS NOT NULL AND (expires_at IS NULL OR expires_at > {s}.now_ms())";

export class PostgresResultStorage implements ResultStorage {
  readonly component = "result-storage" as const;
  readonly backend: object;
  readonly capabilities: ResultStorageCapabilities;
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #life: Lifetime;
  readonly #damage: Damage;

  constructor(backend: object, store: Store, capabilities: ResultStorageCapabilities, onClose: () => Promise<void>) {
    this.backend = backend;
    this.capabilities = capabilities;
    this.#store = store;
    this.#connection = store.connection;
    this.#life = new Lifetime("result storage", onClose);
    this.#damage = new Damage(store.connection);
  }

  async put(results: readonly NewResult[], options: CallOptions = {}): Promise<readonly StoredResult[]> {
    return this.#life.run(options.signal, async () => {
      const stored: StoredResult[] = [];
      for (const part of cutResults(results)) stored.push(...(await this.#put(part)));
      return stored;
    });
  }

  async #put(results: readonly NewResult[]): Promise<readonly StoredResult[]> {
    const { list, values } = new Columns()
      .text(results.map((result) => result.taskId))
      .of(
        "bigint",
        results.map((result) => result.run),
      )
      .of(
        "bigint",
        results.map((result) => result.attempt),
      )
      .text(results.map((result) => result.name))
      .text(results.map((result) => result.queue))
      .text(results.map((result) => result.status))
      .of(
        "bigint",
        results.map((result) => (result.finishedAt === undefined ? null : Math.floor(result.finishedAt))),
      )
      .of(
        "bigint",
        results.map((result) => wholeMs(result.ttlMs)),
      )
      .text(results.map((result) => result.error))
      .text(results.map((result) => result.value))
      .build();
    const rows = await this.#connection.query(`SELECT ${columns} FROM {s}.put_results(${list})`, values);
    this.#store.wakeUp.committed({ results: results.map((result) => result.taskId) });
    return rows.map((row) => this.#read(row));
  }

  /** A damaged one is given as failed. */
  #read(row: Row): StoredResult {
    const result = toStoredResult(row);
    if (result !== undefined) return result;
    const [taskId, run, attempt, name, queue, , finishedAt] = row;
    this.#damage.report("result", taskId as string);
    return {
      taskId: taskId as string,
      // Whoever waits for whatever run hears of it.
      run: isWhole(run, 1) ? run : Number.MAX_SAFE_INTEGER,
      attempt: isWhole(attempt) ? attempt : 0,
      name: typeof name === "string" ? name : "",
      queue: typeof queue === "string" ? queue : "",
      status: "failed",
      error: damagedText("this result"),
      finishedAt: isTime(finishedAt) ? finishedAt : 0,
      expiresAt: isTime(row[7]) ? row[7] : null,
    };
  }

  async get(ids: readonly string[], options: CallOptions = {}): Promise<readonly (StoredResult | undefined)[]> {
    return this.#life.run(options.signal, async () => {
      const found = await this.#find(ids);
      return ids.map((id) => found.get(id));
    });
  }

  async wait(
    references: readonly ResultReference[],
    waitMs: number,
    options: CallOptions = {},
  ): Promise<readonly StoredResult[]> {
    const { signal } = options;
    return this.#life.run(signal, async () => {
      const ended = this.#life.signal;
      const until = performance.now() + waitMs;
      const ids = [...new Set(references.map((reference) => reference.taskId))];
      for (;;) {
        // Listening begins before looking, so that what happens in between is not missed.
        const listening = this.#store.wakeUp.listen("results", ids, [signal, ended]);
        try {
          const results = await this.#find(ids);
          signal?.throwIfAborted();
          const found = references.flatMap(({ taskId, run }) => {
            const result = results.get(taskId);
            return result !== undefined && result.run >= run ? [result] : [];
          });
          const left = until - performance.now();
          if (found.length > 0 || ended.aborted || left <= 0) return found;
          await listening.wait(left);
        } finally {
          listening.stop();
        }
        signal?.throwIfAborted();
        if (ended.aborted) return [];
      }
    });
  }

  async #find(ids: readonly string[]): Promise<ReadonlyMap<string, StoredResult>> {
    const { list, values } = new Columns().text(ids).build();
    const rows = await this.#connection.query(`SELECT ${columns} FROM {s}.get_results(${list})`, values, {
      harmless: true,
    });
    return new Map(rows.map((row) => [row[0] as string, this.#read(row)]));
  }

  async delete(ids: readonly string[], options: CallOptions = {}): Promise<void> {
    return this.#life.run(options.signal, async () => {
      const { list, values } = new Columns().text(ids).build();
      await this.#connection.query(`SELECT {s}.drop_results(${list}, 0)`, values);
    });
  }

  async list(filter: ResultFilter, page: PageRequest, options: CallOptions = {}): Promise<Page<StoredResult>> {
    const key = listKey("r", filter);
    const { limit, after } = readPage(key, page);
    return this.#life.run(options.signal, async () => {
      const values: unknown[] = [after ?? "", limit + 1];
      let where = `task_id > $1 AND ${current}`;
      for (const column of ["queue", "name", "status"] as const) {
        const wanted = filter[column];
        if (wanted !== undefined) where += ` AND ${column} = $${values.push(wanted)}`;
      }
      const rows = await this.#connection.look(
        `SELECT ${columns} FROM {s}.past WHERE ${where} ORDER BY task_id LIMIT $2`,
        values,
      );
      const items = rows.slice(0, limit).map((row) => this.#read(row));
      const last = items.at(-1);
      return rows.length > limit && last !== undefined ? { items, next: writeCursor(key, last.taskId) } : { items };
    });
  }

  async sweep(limit: number, options: CallOptions = {}): Promise<number> {
    return this.#life.run(options.signal, async () => {
      const [row] = await this.#connection.query("SELECT {s}.drop_results(NULL, $1)", [limit], { harmless: true });
      return row?.[0] as number;
    });
  }

  close(): Promise<void> {
    return this.#life.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Characters of the results that go in one statement, unless one alone has more. */
const maxCharacters = 33_554_432;

function cutResults(results: readonly NewResult[]): readonly (readonly NewResult[])[] {
  const parts: NewResult[][] = [];
  let left = 0;
  for (const result of results) {
    const size = (result.value?.length ?? 0) + (result.error?.length ?? 0);
    if (parts.length === 0 || size > left) {
      parts.push([]);
      left = maxCharacters;
    }
    parts.at(-1)?.push(result);
    left -= size;
  }
  return parts;
}

/** `undefined` for what cannot be read. */
function toStoredResult(row: Row): StoredResult | undefined {
  const error = row[8] as string | null;
  const value = row[9] as string | null;
  if (!isStatus(row[5]) || !isWhole(row[1], 1) || !isWhole(row[2]) || !isTime(row[6])) return undefined;
  if (typeof row[3] !== "string" || typeof row[4] !== "string" || !(row[7] === null || isWhole(row[7])))
    return undefined;
  return {
    taskId: row[0],
    run: row[1],
    attempt: row[2],
    name: row[3],
    queue: row[4],
    status: row[5],
    ...(value === null ? {} : { value }),
    ...(error === null ? {} : { error }),
    finishedAt: row[6],
    expiresAt: row[7],
  };
}
