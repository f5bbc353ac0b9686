// The connection to one database: opened at first use, shared by all components, closed with the last of them.
import { mkdirSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { OmniQError } from "@omniq/core";
import { failure, isBusy } from "./failures.ts";
import { sqliteDriver, type SqliteDriverDatabase } from "./driver.ts";
import { migrate, schemaVersion, storedVersion } from "./migrations.ts";
import type { CheckedOptions, SqliteDatabaseLike } from "./options.ts";
import { Sql } from "./sql.ts";

/** How long one attempt blocks the event loop for a lock that another process holds; between attempts it is free. */
const busyTimeoutMs = 4;
/** After this time without the lock, calls reject with `OMNIQ_BACKEND_UNAVAILABLE`. */
export const busyLimitMs = 15_000;

export class Connection {
  readonly prefix: string;
  /** The absolute path; `undefined` for memory and for a user's own database. */
  readonly path: string | undefined;
  /** How messages name the database. */
  readonly what: string;
  readonly #options: CheckedOptions;
  #own: SqliteDriverDatabase | undefined;
  #sql: Sql | undefined;
  #opening: Promise<Sql> | undefined;
  #closed = false;
  #latest = 0;
  readonly #foreign = new WeakMap<object, Sql>();

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.prefix = options.prefix;
    const { databasePath, database } = options;
    this.path = databasePath === undefined || databasePath === ":memory:" ? undefined : resolve(databasePath);
    this.what =
      database !== undefined ? "the given SQLite database" : `the SQLite database "${this.path ?? ":memory:"}"`;
  }

  /** The store's clock: it never runs backward, or what was due would not be due any more. */
  now(): number {
    return (this.#latest = Math.max(this.#latest, Math.floor(this.#options.now())));
  }

  /** What is open now, without waiting. */
  get current(): Sql | undefined {
    return this.#sql;
  }

  get usersOwn(): SqliteDatabaseLike | undefined {
    return this.#options.database;
  }

  /** Opens the database where it is not open yet; waits, without blocking, while others lock it. */
  open(): Promise<Sql> {
    if (this.#closed) return Promise.reject(this.closedError());
    if (this.#sql !== undefined) return Promise.resolve(this.#sql);
    return (this.#opening ??= this.#openWithPatience().finally(() => (this.#opening = undefined)));
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend of ${this.what} is closed; make a new one`);
  }

  /** Closes what was opened here. It may be opened again unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    if (forEver) this.#closed = true;
    if (this.#opening !== undefined) await this.#opening.catch(() => undefined);
    const own = this.#own;
    this.#sql = undefined;
    this.#own = undefined;
    own?.close();
  }

  /** Statements on the handle of a user's open transaction, on the same database; with the tables made sure of. */
  foreign(transaction: unknown): Sql {
    const handle = transaction as SqliteDatabaseLike;
    if (
      typeof handle !== "object" ||
      handle === null ||
      typeof handle.prepare !== "function" ||
      typeof handle.inTransaction !== "boolean"
    ) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        "transaction must be the better-sqlite3 Database on which your transaction is open",
      );
    }
    if (!handle.inTransaction) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        "No transaction is open on the given database: call inside database.transaction(() => …)",
      );
    }
    let sql = this.#foreign.get(handle);
    if (sql === undefined) {
      sql = handle === this.#options.database && this.#sql !== undefined ? this.#sql : new Sql(handle, this.prefix);
      this.#checkSameFile(sql);
      this.#foreign.set(handle, sql);
    }
    try {
      if (storedVersion(sql, this.prefix, this.what) < schemaVersion) migrate(sql, this.prefix, this.what);
    } catch (error) {
      throw failure(error, this.what);
    }
    return sql;
  }

  #checkSameFile(sql: Sql): void {
    if (sql.handle === this.#options.database) return;
    const ours = this.#own ?? this.#options.database;
    // Before the first use there is nothing to compare with; a path of ours is compared as a path.
    const file = mainFile(sql.handle);
    const expected = ours === undefined ? this.path : mainFile(ours);
    if (file === "" || expected === undefined || realPath(file) !== realPath(expected)) {
      throw new OmniQError(
        "OMNIQ_INVALID_OPTION",
        `The transaction's database is another one than ${this.what}: open the same file`,
      );
    }
  }

  async #openWithPatience(): Promise<Sql> {
    const until = performance.now() + busyLimitMs;
    for (;;) {
      try {
        return this.#openNow();
      } catch (error) {
        if (!isBusy(error) || performance.now() > until) throw failure(error, this.what);
        await new Promise((done) => setTimeout(done, 1 + Math.random() * 15));
        if (this.#closed) throw this.closedError();
      }
    }
  }

  #openNow(): Sql {
    const { database, synchronous } = this.#options;
    if (database !== undefined) {
      const sql = new Sql(database, this.prefix);
      migrate(sql, this.prefix, this.what);
      return (this.#sql = sql);
    }
    if (this.path !== undefined) makeFolder(dirname(this.path), this.what);
    let own: SqliteDriverDatabase;
    try {
      own = new (sqliteDriver())(this.path ?? ":memory:", { timeout: busyTimeoutMs });
    } catch (error) {
      throw failure(error, this.what);
    }
    try {
      if (own.pragma("journal_mode", { simple: true }) !== "wal") own.pragma("journal_mode = WAL");
      own.pragma(`synchronous = ${synchronous}`);
      own.pragma("temp_store = MEMORY");
      own.pragma("cache_size = -65536");
      own.pragma("wal_autocheckpoint = 4000");
      const sql = new Sql(own, this.prefix);
      migrate(sql, this.prefix, this.what);
      this.#own = own;
      return (this.#sql = sql);
    } catch (error) {
      own.close();
      throw error;
    }
  }
}

function makeFolder(folder: string, what: string): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `The folder of ${what} can't be made (${(error as { code?: string }).code ?? "unknown"}); check the path and its rights`,
      { cause: error },
    );
  }
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function mainFile(handle: SqliteDatabaseLike): string {
  const rows = handle.prepare("PRAGMA database_list").all() as { name: string; file: string }[];
  return rows.find((row) => row.name === "main")?.file ?? "";
}
