// The options of the SQLite adapter: what they are, how they are checked, how they are read from a URL.
import { OmniQError } from "@omniq/core";

/** What is needed of a prepared statement. */
export interface SqliteStatementLike {
  run(...values: any[]): any;
  get(...values: any[]): any;
  all(...values: any[]): any[];
  /** Rows as arrays; used where it is there. */
  raw?(on: boolean): any;
}

/** What is needed of a user's own database: a better-sqlite3 `Database` fits. */
export interface SqliteDatabaseLike {
  prepare(sql: string): SqliteStatementLike;
  readonly inTransaction: boolean;
}

/** Options of {@link sqlite}. One of `databasePath` and `database` is required. */
export interface SqliteOptions {
  /** The file. It and its folder are made where they are missing. `:memory:` lives and dies with the backend. */
  readonly databasePath?: string | undefined;
  /** `full` (default): what was acknowledged survives a power cut. `normal`: it survives the death of the process only. */
  readonly synchronous?: "full" | "normal" | undefined;
  /** Your own open database (better-sqlite3). It is never closed and its pragmas are left as they are. */
  readonly database?: SqliteDatabaseLike | undefined;
  /** Beginning of the table names: letters, digits, underscores, at most 40. Default `omniq`. */
  readonly prefix?: string | undefined;
  /** How long events are kept, counted from their time. Default 604,800,000 (7 days). */
  readonly eventTtlMs?: number | undefined;
  /** The store's clock, for tests: epoch milliseconds. Default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** Options after the checks, with defaults filled in. */
export interface CheckedOptions {
  readonly databasePath: string | undefined;
  readonly synchronous: "full" | "normal";
  readonly database: SqliteDatabaseLike | undefined;
  readonly prefix: string;
  readonly eventTtlMs: number;
  readonly now: () => number;
}

const defaultEventTtlMs = 7 * 24 * 3_600_000;

/** Checks options. Throws `OMNIQ_CONFIG_INVALID` with the option's name. */
export function checkOptions(options: SqliteOptions): CheckedOptions {
  if (typeof options !== "object" || options === null) {
    throw invalid('the options must be an object such as { databasePath: "./omniq.db" }');
  }
  const {
    databasePath,
    synchronous = "full",
    database,
    prefix = "omniq",
    eventTtlMs = defaultEventTtlMs,
    now = Date.now,
  } = options;
  if (database === undefined && databasePath === undefined) {
    throw invalid("databasePath is missing: give the path of the database file, or your own database as `database`");
  }
  if (database !== undefined && databasePath !== undefined)
    throw invalid("databasePath and database exclude each other: give one of them");
  if (
    databasePath !== undefined &&
    (typeof databasePath !== "string" || databasePath === "" || databasePath.includes("\0"))
  ) {
    throw invalid("databasePath must be a path that is not empty");
  }
  if (
    database !== undefined &&
    (typeof database !== "object" || database === null || typeof database.prepare !== "function")
  ) {
    throw invalid("database must be an open better-sqlite3 Database");
  }
  if (synchronous !== "full" && synchronous !== "normal") throw invalid('synchronous must be "full" or "normal"');
  if (typeof prefix !== "string" || !/^[A-Za-z_][A-Za-z0-9_]{0,39}$/.test(prefix)) {
    throw invalid("prefix must be 1 to 40 letters, digits and underscores, and not begin with a digit");
  }
  if (!Number.isSafeInteger(eventTtlMs) || eventTtlMs < 1)
    throw invalid("eventTtlMs must be a whole number of at least 1");
  if (typeof now !== "function") throw invalid("now must be a function");
  // SQLite compares table names without case; so two prefixes that differ only in case would share their tables.
  return { databasePath, synchronous, database, prefix: prefix.toLowerCase(), eventTtlMs, now };
}

/**
 * `sqlite:///absolute/path`, `sqlite:/absolute/path`, `sqlite:relative/path`, `sqlite:./relative/path`; `?synchronous=normal&prefix=…&eventTtlMs=…`.
 * A file has no host: `sqlite://host/path` is refused, so that a path with two slashes is not read as another file.
 */
export function fromUrl(url: string): SqliteOptions {
  const match = /^[a-z][a-z0-9+.-]*:(?:\/\/(?<authority>[^/?#]*))?(?<path>[^?#]*)(?:\?(?<query>[^#]*))?$/i.exec(url);
  const { authority = "", path = "", query = "" } = match?.groups ?? {};
  const forms = "the URL must be sqlite:///absolute/path.db or sqlite:relative/path.db";
  if (authority !== "" && authority !== "." && authority !== "..") throw invalid(`${forms}, without a host`);
  let databasePath: string;
  try {
    databasePath = decodeURIComponent(authority + path);
  } catch {
    throw invalid("the URL has a broken % sequence in its path");
  }
  if (match === null || databasePath === "") {
    throw invalid(forms);
  }
  const options: Record<string, unknown> = { databasePath };
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === "synchronous" || key === "prefix") options[key] = value;
    else if (key === "eventTtlMs" || key === "event_ttl_ms") options["eventTtlMs"] = Number(value);
    else throw invalid(`the URL has an unknown parameter "${key}"; known are synchronous, prefix and eventTtlMs`);
  }
  return options as SqliteOptions;
}

function invalid(what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The options of the SQLite backend can't be used: ${what}`);
}
