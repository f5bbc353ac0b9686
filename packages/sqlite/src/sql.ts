// Prepared statements of one database handle, cached by their text, and what one transaction carries along.
import type { SqliteDatabaseLike, SqliteStatementLike } from "./options.ts";

export type SqlValue = string | number | null;

/** Statements are written with `{p}` where the prefix of the table names goes. */
export class Sql {
  readonly handle: SqliteDatabaseLike;
  readonly #prefix: string;
  readonly #statements = new Map<string, SqliteStatementLike>();
  readonly #raw = new Map<string, SqliteStatementLike>();

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

  /** Rows as arrays, in the order of the columns: much cheaper than objects where there are many. */
  rows<Row extends readonly SqlValue[]>(text: string, ...values: SqlValue[]): Row[] {
    let statement = this.#raw.get(text);
    if (statement === undefined) {
      statement = this.#prepare(text);
      // A user's own handle may be of another make, without this way to read.
      statement = statement.raw === undefined ? listing(statement) : (statement.raw(true) as SqliteStatementLike);
      this.#raw.set(text, statement);
    }
    return statement.all(...values) as Row[];
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
      statement = this.#prepare(text);
      this.#statements.set(text, statement);
    }
    return statement;
  }

  #prepare(text: string): SqliteStatementLike {
    const statement = this.handle.prepare(text.replaceAll("{p}", this.#prefix));
    // A user's handle may be set to answer with bigint; our integers are all below 2^53.
    (statement as { safeIntegers?: (on: boolean) => unknown }).safeIntegers?.(false);
    return statement;
  }
}

/** A statement whose `all` gives arrays. */
function listing(statement: SqliteStatementLike): SqliteStatementLike {
  return {
    run: (...values) => statement.run(...values) as unknown,
    get: (...values) => statement.get(...values) as unknown,
    all: (...values) => statement.all(...values).map((row) => Object.values(row as object)),
  };
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
  /** Active tasks whose cancel was asked for. */
  readonly cancelling: string[];
  /** Tasks that could not be read and were set aside. */
  readonly damaged: string[];
}

export function newWake(): Wake {
  return { tasks: false, events: false, results: new Set(), cancelling: [], damaged: [] };
}
