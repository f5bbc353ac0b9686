// The tables and functions and how they come to be: versioned migrations, each run once, under an advisory lock.
import { OmniQError } from "@omniq/core";
import { commonFunctions } from "./common-functions.ts";
import { controlFunctions } from "./control-functions.ts";
import { enqueueFunctions } from "./enqueue-functions.ts";
import { enqueuePlainFunctions } from "./enqueue-plain-functions.ts";
import { reserveFunctions } from "./reserve-functions.ts";
import { settleFunctions } from "./settle-functions.ts";
import { storageFunctions } from "./storage-functions.ts";
import { sinceVersion1, tables } from "./tables.ts";

const functions = [
  ...commonFunctions,
  ...reserveFunctions,
  ...enqueueFunctions,
  ...enqueuePlainFunctions,
  ...settleFunctions,
  ...controlFunctions,
  ...storageFunctions,
];

/** All routines and types of the schema that are ours are made anew. */
const dropRoutines = `DO $$
  DECLARE v_one record;
  BEGIN
    FOR v_one IN SELECT p.oid::pg_catalog.regprocedure AS name FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = {n}
    LOOP
      EXECUTE 'DROP ROUTINE ' || v_one.name || ' CASCADE';
    END LOOP;
    DROP TYPE {s}.lease, {s}.place;
  END $$`;

/** What leads from each version to the newest; from none first. Version 1 was before the first release: its processes must be ended first. */
const migrations: readonly (readonly string[])[] = [
  [...tables, ...functions],
  [dropRoutines, ...sinceVersion1, ...functions],
];
/** The version that this package writes. */
export const schemaVersion: number = migrations.length;
/** `xid8`, on which event cursors stand, came with 13. */
const oldestServer = 130_000;

/** Runs one statement and gives its rows as arrays. */
export type Run = (text: string, values?: readonly unknown[]) => Promise<readonly (readonly unknown[])[]>;

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteText(text: string): string {
  return text.includes("\\")
    ? `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`
    : `'${text.replaceAll("'", "''")}'`;
}

/**
 * Functions of PostgreSQL in statements, which run with the search path of whoever's connection it is: one of another schema that fits the arguments
 * better would be called in their place. (What our own functions call is looked up as their settings say.)
 */
const builtIn =
  /(?<![.\w"])(array_agg|count|current_setting|hashtextextended|json_agg|json_build_object|max|pg_advisory_xact_lock|pg_current_snapshot|pg_notify|pg_snapshot_xmax|pg_snapshot_xmin|pg_visible_in_snapshot|string_to_array|to_json|unnest)\(/g;
export function qualified(text: string): string {
  return text.replace(builtIn, "pg_catalog.$1(");
}

/** Puts the schema into a statement: `{s}` is its quoted name, `{n}` its name as text. */
export function inSchema(text: string, schema: string): string {
  return text.replace(/'\{s\}\.|\{s\}|\{n\}/g, (place) => {
    if (place === "{s}") return quoteName(schema);
    return place === "{n}" ? quoteText(schema) : `${quoteText(quoteName(schema)).slice(0, -1)}.`;
  });
}

/** The stored version; 0 where there are no tables yet. Throws `OMNIQ_ADAPTER_INCOMPATIBLE` for a newer one. */
async function storedVersion(run: Run, schema: string, what: string): Promise<number> {
  // The catalogue itself is asked: to_regclass() answers from a cache that another process's migration may not have reached.
  const there = await run(
    "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'meta'",
    [schema],
  );
  if (there.length === 0) return 0;
  const [row] = await run(inSchema("SELECT value FROM {s}.meta WHERE key = 'version'", schema));
  const version = row === undefined ? 0 : Number(row[0]);
  if (!Number.isInteger(version) || version < 0 || version > schemaVersion) {
    throw new OmniQError(
      "OMNIQ_ADAPTER_INCOMPATIBLE",
      `The schema "${schema}" of ${what} has version ${String(row?.[0]).slice(0, 20)}; this @omniq/postgres knows ${schemaVersion} and older ones, so a newer one must have written it; update it`,
    );
  }
  return version;
}

/** Looks at the server and the schema. With `change`, brings the schema up to date; else an old one is an error that says what to do. */
export async function prepare(run: Run, schema: string, what: string, change: boolean): Promise<void> {
  const [server] = await run(
    qualified(
      "SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), current_setting('transaction_isolation')",
    ),
  );
  const [number, encoding, isolation] = (server ?? []) as [number, string, string];
  const refuse = (text: string): OmniQError => new OmniQError("OMNIQ_BACKEND_FAILED", `${what} ${text}`);
  if (number < oldestServer) throw refuse("is older than PostgreSQL 13; update the server");
  if (encoding !== "UTF8") throw refuse(`has a database in the encoding ${encoding}; create one in UTF8`);
  if (isolation !== "read committed")
    throw refuse(
      `begins transactions as ${isolation}; set default_transaction_isolation to read committed for this user`,
    );
  const version = await storedVersion(run, schema, what);
  if (version === schemaVersion) return;
  if (!change) {
    throw refuse(
      `has ${version === 0 ? "no tables" : `tables of version ${version}`} in the schema "${schema}"; call migrate() with a user who may make and change them`,
    );
  }
  await migrateSchema(run, schema, what);
}

/** Of many processes that start at once one does it: the version is read again under the lock. All of it happens or nothing. */
async function migrateSchema(run: Run, schema: string, what: string): Promise<void> {
  await run("BEGIN");
  try {
    await run("SET LOCAL search_path = pg_catalog, pg_temp");
    await run(qualified("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"), [`omniq migration ${schema}`]);
    const from = await storedVersion(run, schema, what);
    if (from < schemaVersion) {
      const there = await run("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", [schema]);
      const texts = [...(migrations[from] ?? [])];
      if (from === 0) texts.unshift("CREATE TABLE {s}.meta (key text PRIMARY KEY, value text NOT NULL)");
      if (there.length === 0) texts.unshift("CREATE SCHEMA {s}");
      texts.push(
        `INSERT INTO {s}.meta (key, value) VALUES ('version', '${schemaVersion}') ON CONFLICT (key) DO UPDATE SET value = excluded.value`,
      );
      // Many statements in one round trip; without values `pg` sends them as they are.
      await run(texts.map((text) => inSchema(text, schema)).join(";\n"));
    }
    await run("COMMIT");
  } catch (error) {
    // The first error tells more than one of a connection that is gone.
    await run("ROLLBACK").catch(() => {});
    throw error;
  }
}
