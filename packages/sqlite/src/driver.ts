// Which better-sqlite3 is used: 13 where it runs (Node 22 and later), 12 on Node 20.
import { createRequire } from "node:module";
import { OmniQError } from "@omniq/core";
import type { SqliteDatabaseLike } from "./options.ts";

/** The class that opens databases: better-sqlite3's, with as much of its type as most programs use. */
export type SqliteDriver = new (
  path: string,
  options?: { readonly readonly?: boolean; readonly timeout?: number },
) => SqliteDriverDatabase;

/** A database that the driver opened. */
export interface SqliteDriverDatabase extends SqliteDatabaseLike {
  exec(sql: string): unknown;
  /** A function that runs `body` in a transaction: commits when it returns, rolls back when it throws. */
  transaction<Values extends unknown[], Answer>(
    body: (...values: Values) => Answer,
  ): ((...values: Values) => Answer) & { immediate(...values: Values): Answer };
  pragma(text: string, options?: { readonly simple?: boolean }): unknown;
  close(): unknown;
}

const names =
  Number(process.versions.node.split(".")[0]) >= 22 ? ["better-sqlite3", "better-sqlite3-12"] : ["better-sqlite3-12"];
let loaded: SqliteDriver | undefined;

/**
 * The better-sqlite3 that this package was installed with. Two versions are optional dependencies, since none runs everywhere: 13 ends
 * Node 20 with a segmentation fault, and 12 ends Node 24.19 and later with a failed assertion when a statement is collected.
 * Throws `OMNIQ_ADAPTER_NOT_FOUND` when the one that this Node needs could not be installed.
 */
export function sqliteDriver(): SqliteDriver {
  if (loaded !== undefined) return loaded;
  const require = createRequire(import.meta.url);
  const causes: unknown[] = [];
  for (const name of names) {
    try {
      loaded = require(name) as SqliteDriver;
      return loaded;
    } catch (cause) {
      causes.push(cause);
    }
  }
  const wanted = names[0] === "better-sqlite3" ? "better-sqlite3@13" : "better-sqlite3-12@npm:better-sqlite3@12.11.1";
  throw new OmniQError(
    "OMNIQ_ADAPTER_NOT_FOUND",
    `@omniq/sqlite found no better-sqlite3 that runs on Node ${process.versions.node}; install it: npm install ${wanted}`,
    { cause: causes[0] },
  );
}
