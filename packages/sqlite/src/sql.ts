// Prepared statements of one database handle, cached by their text, and what one transaction carries along.
import type { SqliteDatabaseLike, SqliteStatementLike } from "./options.ts";

export type SqlValue = string | number | null;

/** Statements are written with `{p}` where the prefix of the table names goes. */
export class Sql {
  readonly handle: SqliteDatabaseLike;
  readonly #prefix: string;
  readonly #statements = new Map<string, SqliteStatementLike>();

  constructor(handle: SqliteDatabaseLike, prefix: string) {
    this.handle = handle;
    this.#prefix = prefix;
  }

  /** Says how many rows changed. */
  run(text: string, ...values: SqlValue[]): number {
    return (this.#prepared(text).run(...values) as { changes: number }).changes;
  }

  insert(text: string, ...values: SqlValue[]): { readonly changes: number; readonly rowid: number } {
    const done = this.#prepared(text).run(...values) as { changes: number; lastInsertRowid: number | bigint };
    return { changes: done.changes, rowid: Number(done.lastInsertRowid) };
  }

  get<Row>(text: string, ...values: SqlValue[]): Row | undefined {
    return this.#prepared(text).get(...values) as Row | undefined;
  }

  all<Row>(text: string, ...values: SqlValue[]): Row[] {
    return this.#prepared(text).all(...values) as Row[];
  }

  /** Not cached: for statements that are run once. */
  once(text: string): void {
    this.handle.prepare(text.replaceAll("{p}", this.#prefix)).run();
  }

  #prepared(text: string): SqliteStatementLike {
    let statement = this.#statements.get(text);
    if (statement === undefined) {
      statement = this.handle.prepare(text.replaceAll("{p}", this.#prefix));
      // A user's handle may be set to answer with bigint; our integers are all below 2^53.
      (statement as { safeIntegers?: (on: boolean) => unknown }).safeIntegers?.(false);
      this.#statements.set(text, statement);
    }
    return statement;
  }
}

/** One transaction: its statements, the store's time, and whom to wake after the commit. */
export interface Transacting {
  readonly sql: Sql;
  /** The store's clock, one time for the whole transaction. */
  readonly now: number;
  /** `performance.now()` before the transaction was begun. */
  readonly sentAt: number;
  readonly wake: Wake;
}

/** What a commit changed, for those who wait. */
export interface Wake {
  /** Something may be ready now, or due earlier than was known. */
  tasks: boolean;
  events: boolean;
  /** Tasks whose results were stored. */
  readonly results: Set<string>;
}

export function newWake(): Wake {
  return { tasks: false, events: false, results: new Set() };
}
