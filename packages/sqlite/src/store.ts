// What the four components share: the connection, group commit and wake-ups, and how each of them is closed.
import { setMaxListeners } from "node:events";
import { OmniQError } from "@omniq/core";
import { Connection } from "./connection.ts";
import { failure } from "./failures.ts";
import { GroupCommit } from "./group-commit.ts";
import type { CheckedOptions } from "./options.ts";
import { newWake, type Sql, type Transacting } from "./sql.ts";
import { WakeUp } from "./wake-up.ts";

/** How long a transaction of the user's is watched for its end, in steps; beyond, polling sees it. */
const watchTransactionMs = 30_000;

export class Store {
  readonly options: CheckedOptions;
  readonly connection: Connection;
  readonly wakeUp: WakeUp;
  readonly #commits: GroupCommit;

  constructor(options: CheckedOptions) {
    this.options = options;
    this.connection = new Connection(options);
    this.wakeUp = new WakeUp(this.connection);
    this.#commits = new GroupCommit(this.connection, (wake) => this.wakeUp.committed(wake));
  }

  write<T>(work: (tx: Transacting) => T, signal?: AbortSignal | undefined): Promise<T> {
    return this.#commits.write(work, signal);
  }

  async read<T>(work: (sql: Sql, now: number) => T): Promise<T> {
    let sql = this.connection.current;
    while (sql === undefined) {
      await this.connection.open();
      // It may have been closed again before this call got its turn.
      sql = this.connection.current;
    }
    try {
      // A user's open transaction on the same handle sees to the lock itself.
      return sql.handle.inTransaction ? work(sql, this.connection.now()) : this.#readOnce(sql, work);
    } catch (error) {
      throw failure(error, this.connection.what);
    }
  }

  /** In one transaction: outside of one each statement locks the file anew, which costs many times what it looks up. */
  #readOnce<T>(sql: Sql, work: (sql: Sql, now: number) => T): T {
    sql.run("BEGIN");
    try {
      return work(sql, this.connection.now());
    } finally {
      if (sql.handle.inTransaction) sql.run("COMMIT");
    }
  }

  /** Inside a user's open transaction. Waiters are woken when it is over. */
  inTransaction<T>(transaction: unknown, work: (tx: Transacting) => T): T {
    const sql = this.connection.foreign(transaction);
    const wake = newWake();
    let value: T;
    // What fails is undone by itself, so that a user who catches the error commits nothing half done.
    try {
      sql.run("SAVEPOINT omniq_user");
      try {
        value = work({ sql, now: this.connection.now(), sentAt: performance.now(), wake });
      } catch (error) {
        if (sql.handle.inTransaction) sql.run("ROLLBACK TO omniq_user");
        if (sql.handle.inTransaction) sql.run("RELEASE omniq_user");
        throw error;
      }
      sql.run("RELEASE omniq_user");
    } catch (error) {
      throw failure(error, this.connection.what);
    }
    const until = performance.now() + watchTransactionMs;
    const look = (): void => {
      if (!isOpen(sql)) this.wakeUp.committed(wake);
      else if (performance.now() < until) setTimeout(look, 2).unref();
    };
    setImmediate(look);
    return value;
  }

  /** Finishes what was asked, then lets go of the connection; it is opened again if needed, unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    await this.#commits.idle();
    if (forEver) this.wakeUp.close();
    else this.wakeUp.release();
    await this.connection.close(forEver);
  }
}

function isOpen(sql: Sql): boolean {
  return sql.handle.inTransaction;
}

/** Whether a component is closed, and what tells its waiting calls so. */
export class Lifetime {
  readonly #what: string;
  readonly #ended = new AbortController();
  readonly #onClose: () => Promise<void>;
  #closing: Promise<void> | undefined;

  constructor(what: string, onClose: () => Promise<void>) {
    this.#what = what;
    this.#onClose = onClose;
    // One listener for each wait under way: many are no leak.
    setMaxListeners(0, this.#ended.signal);
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Rejects verbs of a closed component, and calls whose signal has aborted. */
  check(signal?: AbortSignal | undefined): void {
    if (this.#ended.signal.aborted)
      throw new OmniQError("OMNIQ_CLOSED", `The ${this.#what} is closed; make a new backend`);
    signal?.throwIfAborted();
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#ended.abort();
      this.#closing = this.#onClose();
    }
    return this.#closing;
  }
}
