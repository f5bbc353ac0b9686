// The connection to one database: opened at first use, shared by all components, closed with the last of them.
import { closeSync, mkdirSync, openSync, realpathSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { OmniQError } from "@omniq/core";
import { failure } from "./failures.ts";
import { sqliteDriver, type SqliteDriverDatabase } from "./driver.ts";
import { migrate, schemaVersion, storedVersion } from "./migrations.ts";
import type { CheckedOptions, SqliteDatabaseLike } from "./options.ts";
import { Sql } from "./sql.ts";

/** How long one attempt blocks the event loop for a lock that another process holds; between attempts it is free. */
const busyTimeoutMs = 4;
/**
 * Connections whose file was taken away stay open. SQLite deletes the log at the close of the last connection by its name, where another
 * database may have its own by now; garbage collection would close them, too.
 */
const abandoned: unknown[] = [];
/** How often it is made sure that the file is still in its place: at a look without a commit, and at commits that follow each other closely. */
const lookPlaceMs = 250;
const commitPlaceMs = 10;
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
  #closed = false;
  /** Device and inode of the file that is open. */
  #place: string | undefined;
  #placeSeenAt = 0;
  /** Set for good when the file was taken away. */
  #gone: OmniQError | undefined;
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

  /** What is open, or is opened now. Throws SQLite's own errors, so that the caller can wait where others lock the file. */
  open(): Sql {
    if (this.#gone !== undefined) throw this.#gone;
    if (this.#closed) throw this.closedError();
    return this.#sql ?? this.#openNow();
  }

  /** Lets go of the file, so that the next call opens it anew. Not of a user's own database. */
  reopen(): void {
    if (this.#own === undefined) return;
    const own = this.#own;
    this.#sql = undefined;
    this.#own = undefined;
    own.close();
  }

  /**
   * Throws, now and for good, where the path does not lead to the open file any more: it was moved, deleted or replaced. What was written to it
   * afterwards nobody would find. A commit that comes later than 10 ms after the last look is always checked; looking at each costs a single
   * enqueue several percent.
   */
  checkPlace(before: "look" | "commit"): void {
    if (this.#place === undefined || this.path === undefined) return;
    const time = performance.now();
    if (time - this.#placeSeenAt < (before === "commit" ? commitPlaceMs : lookPlaceMs)) return;
    this.#placeSeenAt = time;
    if (placeOf(this.path) === this.#place) return;
    this.#gone = new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `${this.what} was moved, deleted or replaced while it was open; nothing more is written to it: put it back, and make a new backend`,
      { retryable: false },
    );
    throw this.#gone;
  }

  closedError(): OmniQError {
    return new OmniQError("OMNIQ_CLOSED", `The backend of ${this.what} is closed; make a new one`);
  }

  /** Closes what was opened here. It may be opened again unless `forEver`. */
  close(forEver: boolean): void {
    if (forEver) this.#closed = true;
    const own = this.#own;
    this.#sql = undefined;
    this.#own = undefined;
    if (this.#gone === undefined) own?.close();
    else abandoned.push(own);
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

  #openNow(): Sql {
    const { database, synchronous } = this.#options;
    if (database !== undefined) {
      const sql = new Sql(database, this.prefix);
      migrate(sql, this.prefix, this.what);
      return (this.#sql = sql);
    }
    if (this.path !== undefined) makeFile(this.path, this.what);
    const own = new (sqliteDriver())(this.path ?? ":memory:", { timeout: busyTimeoutMs });
    try {
      if (own.pragma("journal_mode", { simple: true }) !== "wal") own.pragma("journal_mode = WAL");
      own.pragma(`synchronous = ${synchronous}`);
      own.pragma("temp_store = MEMORY");
      own.pragma("cache_size = -65536");
      own.pragma("wal_autocheckpoint = 4000");
      const sql = new Sql(own, this.prefix);
      migrate(sql, this.prefix, this.what);
      this.#own = own;
      this.#place = this.path === undefined ? undefined : placeOf(this.path);
      return (this.#sql = sql);
    } catch (error) {
      own.close();
      throw error;
    }
  }
}

/** Folder and file, where they are missing, for their owner alone; SQLite gives the files beside it the rights of this one. */
function makeFile(path: string, what: string): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new OmniQError(
      "OMNIQ_BACKEND_FAILED",
      `The folder of ${what} can't be made (${(error as { code?: string }).code ?? "unknown"}); check the path and its rights`,
      { cause: error },
    );
  }
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch {
    // It is there already, or SQLite says what is wrong with it.
  }
}

/** `undefined` where there is no file. */
function placeOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev} ${found.ino}`;
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
