// What the four components share: the connection, group commit and wake-ups, and how each of them is closed.
import { setMaxListeners } from "node:events";
import { OmniQError, Reports } from "@omniq/core";
import { Cancels } from "./cancels.ts";
import { busyLimitMs, Connection } from "./connection.ts";
import { failure, isBusy } from "./failures.ts";
import { GroupCommit } from "./group-commit.ts";
import type { CheckedOptions } from "./options.ts";
import { newWake, type Sql, type Transacting, type Wake } from "./sql.ts";
import { WakeUp } from "./wake-up.ts";

/** So many damaged items are remembered as reported. */
const mostReported = 10_000;
/** How long a transaction of the user's is watched for its end, in steps; beyond, polling sees it. */
const watchTransactionMs = 30_000;

export class Store {
  readonly options: CheckedOptions;
  readonly connection: Connection;
  readonly wakeUp: WakeUp;
  readonly cancels: Cancels;
  readonly reports: Reports = new Reports();
  /** What was reported already: such items are met again at each look. */
  readonly #reported = new Set<string>();
  readonly #commits: GroupCommit;
  #closing = false;

  constructor(options: CheckedOptions) {
    this.options = options;
    this.connection = new Connection(options);
    this.wakeUp = new WakeUp(this.connection);
    this.cancels = new Cancels(this.connection);
    this.#commits = new GroupCommit(this.connection, (wake) => this.#committed(wake));
  }

  #committed(wake: Wake): void {
    this.wakeUp.committed(wake);
    if (wake.cancelling.length > 0) this.cancels.tell(wake.cancelling);
    for (const id of wake.damaged) this.damaged("task", id);
  }

  /** Reports an item that cannot be read, once. */
  damaged(kind: "task" | "result" | "event" | "schedule", id: string): void {
    const key = `${kind} ${id}`;
    if (this.#reported.has(key)) return;
    if (this.#reported.size >= mostReported) this.#reported.clear();
    this.#reported.add(key);
    this.reports.send("error", `A stored ${kind} can't be read: OMNIQ_ITEM_DAMAGED`, { id });
  }

  write<T>(
    work: (tx: Transacting) => T,
    signal?: AbortSignal | undefined,
    ended?: AbortSignal | undefined,
  ): Promise<T> {
    return this.#commits.write(work, signal, ended);
  }

  /** Waits, without blocking, while another connection keeps the file from being read or opened. */
  async read<T>(work: (sql: Sql, now: number) => T, signal?: AbortSignal | undefined): Promise<T> {
    let busySince: number | undefined;
    for (;;) {
      try {
        const sql = this.connection.open();
        this.connection.checkPlace("look");
        // A user's open transaction on the same handle sees to the lock itself.
        return sql.handle.inTransaction ? work(sql, this.connection.now()) : this.#readOnce(sql, work);
      } catch (error) {
        busySince ??= performance.now();
        if (!isBusy(error) || performance.now() - busySince > busyLimitMs) throw failure(error, this.connection.what);
      }
      await new Promise((done) => setTimeout(done, 1 + Math.random() * 15));
      signal?.throwIfAborted();
      if (this.#closing) throw this.connection.closedError();
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
      if (!isOpen(sql)) this.#committed(wake);
      else if (performance.now() < until) setTimeout(look, 2).unref();
    };
    setImmediate(look);
    return value;
  }

  /** Finishes what was asked, then lets go of the connection; it is opened again if needed, unless `forEver`. */
  async close(forEver: boolean): Promise<void> {
    this.#closing = true;
    await this.#commits.idle();
    this.#closing = forEver;
    if (forEver) {
      this.wakeUp.close();
      this.cancels.close();
    } else this.wakeUp.release();
    this.connection.close(forEver);
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
