// Which better-sqlite3 is used: the installed one, if this Node can run it.
import { createRequire } from "node:module";
import { join } from "node:path";
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

/** The second is the alias under which earlier versions of this package installed version 12. */
const names = ["better-sqlite3", "better-sqlite3-12"];
let loaded: SqliteDriver | undefined;

/**
 * The better-sqlite3 that was installed: the one beside this package, else the one that the application sees. No version runs everywhere: 13 ends
 * Node 20 with a segmentation fault, and 12 ends Node 24.19 and later with a failed assertion when a statement is collected; so a version is
 * looked at before it is loaded. Throws `OMNIQ_ADAPTER_NOT_FOUND` where none is there that this Node can run.
 */
export function sqliteDriver(): SqliteDriver {
  if (loaded !== undefined) return loaded;
  const problems: string[] = [];
  let cause: unknown;
  // In a bundle of CommonJS there is no `import.meta.url`.
  for (const place of [import.meta.url as string | undefined, join(process.cwd(), "omniq.js")]) {
    if (place === undefined) continue;
    const require = createRequire(place);
    for (const name of names) {
      try {
        const { version } = require(`${name}/package.json`) as { version: string };
        if (runsHere(version)) return (loaded = require(name) as SqliteDriver);
        problems.push(`version ${version} is installed`);
      } catch (error) {
        cause ??= error;
      }
    }
  }
  const found = problems.length === 0 ? "found no better-sqlite3" : `needs another better-sqlite3 (${problems[0]})`;
  throw new OmniQError(
    "OMNIQ_ADAPTER_NOT_FOUND",
    `@omniq/sqlite ${found} that runs on Node ${process.versions.node}; install it: npm install better-sqlite3@${nodeMajor >= 22 ? 13 : 12}`,
    { cause },
  );
}

const [nodeMajor = 0, nodeMinor = 0] = process.versions.node.split(".").map(Number);

function runsHere(version: string): boolean {
  const major = Number(version.split(".")[0]);
  if (major >= 13) return nodeMajor >= 22;
  return nodeMajor < 24 || (nodeMajor === 24 && nodeMinor < 19);
}
