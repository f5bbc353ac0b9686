// Group commit: calls made in the same turn of the event loop, or while the lock is waited for, share one transaction.
import type { Connection } from "./connection.ts";
import { busyLimitMs } from "./connection.ts";
import { setAside } from "./damage.ts";
import { failure, isBusy, isFull, isReadOnly, isStoreFailure, unknownOutcome } from "./failures.ts";
import { renumber } from "./scan.ts";
import { newWake, type Sql, type Transacting, type Wake } from "./sql.ts";

interface Call {
  readonly work: (tx: Transacting) => unknown;
  readonly signal: AbortSignal | undefined;
  /** Its component was closed. */
  readonly ended: AbortSignal | undefined;
  /** When that was seen while the lock was waited for. */
  endedAt?: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  done?: (() => void) | undefined;
}

/** One transaction takes calls for at most this long, so that the event loop gets its turn. */
const sliceMs = 25;
/** How long a close waits for the lock of another connection; calls that have not had it then are refused. */
const closeGraceMs = 1_500;

export class GroupCommit {
  readonly #connection: Connection;
  readonly #committed: (wake: Wake) => void;
  #waiting: Call[] = [];
  #running: Promise<void> | undefined;
  /** When a close stops waiting for the lock. */
  #refuseAt = Infinity;

  constructor(connection: Connection, committed: (wake: Wake) => void) {
    this.#connection = connection;
    this.#committed = committed;
  }

  /** Runs `work` inside a transaction and resolves after its commit. A call that throws changes nothing and disturbs no other. */
  write<T>(
    work: (tx: Transacting) => T,
    signal?: AbortSignal | undefined,
    ended?: AbortSignal | undefined,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason);
      this.#waiting.push({ work, signal, ended, resolve: resolve as (value: unknown) => void, reject });
      this.#running ??= this.#run();
    });
  }

  /** Resolves when all that was asked is done. What still waits for another connection's lock after a moment is refused. */
  async idle(): Promise<void> {
    this.#refuseAt = performance.now() + closeGraceMs;
    while (this.#running !== undefined) await this.#running;
    this.#refuseAt = Infinity;
  }

  async #run(): Promise<void> {
    // The loop's turn ends here, so that all calls that are made in it come along.
    await new Promise<void>((done) => setImmediate(done));
    let busySince: number | undefined;
    let reopened = false;
    let renumbered = false;
    while (this.#waiting.length > 0) {
      const calls = this.#waiting;
      try {
        const sql = this.#connection.open();
        if (sql.handle.inTransaction)
          throw Object.assign(new Error("A transaction is open on the given database"), { code: "SQLITE_BUSY" });
        this.#waiting = this.#commit(sql, calls);
        busySince = undefined;
        reopened = false;
        renumbered = false;
      } catch (error) {
        const now = performance.now();
        busySince ??= now;
        const refused = isBusy(error) && now > this.#refuseAt;
        if (isBusy(error) && !refused && now - busySince < busyLimitMs) {
          await new Promise((done) => setTimeout(done, 0.5 + Math.random() * 6));
          this.#dropAborted();
          continue;
        }
        // What was opened while nothing could be written stays so: opened anew, it is as the file is now.
        if (isReadOnly(error) && !reopened) {
          reopened = true;
          this.#connection.reopen();
          continue;
        }
        // SQLite says full of a table, too, whose numbers are used up.
        if (isFull(error) && !renumbered && this.#renumber()) {
          renumbered = true;
          continue;
        }
        busySince = undefined;
        reopened = false;
        this.#waiting = [];
        const seen = refused ? this.#connection.closedError() : failure(error, this.#connection.what);
        for (const call of calls) call.reject(seen);
      }
      if (this.#waiting.length > 0) await new Promise<void>((done) => setImmediate(done));
    }
    // In the same step as the loop's end: a call made right after it must start the next run.
    this.#running = undefined;
  }

  #renumber(): boolean {
    const sql = this.#connection.current;
    if (sql === undefined) return false;
    const tx = { sql, now: this.#connection.now(), sentAt: performance.now(), wake: newWake() };
    try {
      sql.run("BEGIN IMMEDIATE");
      const found = renumber(sql, (seq) => setAside(tx, seq));
      sql.run("COMMIT");
      this.#committed(tx.wake);
      return found;
    } catch {
      if (sql.handle.inTransaction) sql.run("ROLLBACK");
      return false;
    }
  }

  /** Who has given up is answered at once, whoever holds the lock; whose component is closed, after a moment. */
  #dropAborted(): void {
    const now = performance.now();
    this.#waiting = this.#waiting.filter((call) => {
      const { signal, ended, reject } = call;
      if (ended?.aborted === true) call.endedAt ??= now;
      const aborted = signal?.aborted === true;
      const late = now - (call.endedAt ?? now) > closeGraceMs;
      if (aborted) reject(signal.reason);
      else if (late) reject(this.#connection.closedError());
      return !aborted && !late;
    });
  }

  /** One transaction. Gives what is left for the next. Throws before anything is acknowledged, with nothing changed. */
  #commit(sql: Sql, calls: Call[]): Call[] {
    const sentAt = performance.now();
    sql.run("BEGIN IMMEDIATE");
    let wake: Wake;
    let taken: number;
    try {
      const now = this.#connection.now();
      wake = newWake();
      taken = this.#work(calls, { sql, now, sentAt, wake }, false);
      if (taken < 0) {
        // A call failed. Savepoints cost, so only now all are run again, each within its own.
        sql.run("ROLLBACK");
        sql.run("BEGIN IMMEDIATE");
        wake = newWake();
        taken = this.#work(calls, { sql, now, sentAt, wake }, true);
      }
      this.#connection.checkPlace("commit");
      try {
        sql.run("COMMIT");
      } catch (error) {
        throw unknownOutcome(error, this.#connection.what) ?? error;
      }
    } catch (error) {
      if (sql.handle.inTransaction) sql.run("ROLLBACK");
      for (const call of calls) call.done = undefined;
      throw error;
    }
    for (let index = 0; index < taken; index++) calls[index]?.done?.();
    this.#committed(wake);
    return calls.slice(taken);
  }

  /** How many calls were run; -1 when one failed outside a savepoint. */
  #work(calls: readonly Call[], tx: Transacting, isolated: boolean): number {
    let taken = 0;
    for (const call of calls) {
      if (taken > 0 && performance.now() - tx.sentAt > sliceMs) break;
      taken++;
      if (call.signal?.aborted === true) {
        call.done = () => call.reject(call.signal?.reason);
        continue;
      }
      try {
        if (isolated) tx.sql.run("SAVEPOINT omniq_call");
        const value = call.work(tx);
        if (isolated) tx.sql.run("RELEASE omniq_call");
        call.done = () => call.resolve(value);
      } catch (error) {
        if (isStoreFailure(error)) throw error;
        if (!isolated) return -1;
        tx.sql.run("ROLLBACK TO omniq_call");
        tx.sql.run("RELEASE omniq_call");
        const seen = failure(error, this.#connection.what);
        call.done = () => call.reject(seen);
      }
    }
    return taken;
  }
}
