// Reads `storageOptions` for stores: one table of names and kinds, aliases of other tools accepted, mistakes named.
import { OmniQError } from "@omniq/core";

/** `secret` is a text that never stands in a message. */
export type StorageOptionKind = "string" | "secret" | "boolean" | "integer" | "object";

/** One option of a store: its kind, and the other names that it goes by. snake_case forms are understood anyway. */
export interface StorageOption {
  readonly kind: StorageOptionKind;
  readonly aliases?: readonly string[] | undefined;
}
export type StorageOptionTable<Names extends string> = Readonly<Record<Names, StorageOption>>;
/** What comes out: each option under its own name, checked, or undefined. */
export type ReadStorageOptions<T extends Readonly<Record<string, StorageOption>>> = {
  readonly [K in keyof T]?:
    | (T[K]["kind"] extends "boolean"
        ? boolean
        : T[K]["kind"] extends "integer"
          ? number
          : T[K]["kind"] extends "object"
            ? Readonly<Record<string, unknown>>
            : string)
    | undefined;
};

/**
 * Checks the options of a store that were given in code or in a file, and gives each its own name. Values that are null or undefined
 * count as not given; texts stand for booleans and numbers too, as in environment variables. Throws `OMNIQ_CONFIG_INVALID` for an
 * unknown name, a wrong kind, and one option that is given twice under two names with different values.
 */
export function readStorageOptions<const T extends Readonly<Record<string, StorageOption>>>(
  given: unknown,
  table: T,
  store: string,
): ReadStorageOptions<T> {
  if (given === undefined || given === null) return {};
  if (typeof given !== "object" || Array.isArray(given)) throw invalid(store, "they must be an object");
  const names = new Map<string, string>();
  for (const [name, { aliases = [] }] of Object.entries(table))
    for (const known of [name, ...aliases]) {
      names.set(known, name);
      names.set(snakeCase(known), name);
    }
  const read: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    const name = names.get(key);
    if (name === undefined)
      throw invalid(store, `"${key.slice(0, 60)}" is unknown; known are ${Object.keys(table).join(", ")}`);
    const checked = check(value, table[name] as StorageOption, key, store);
    if (read[name] !== undefined && read[name] !== checked)
      throw invalid(store, `${name} is given twice, under two names, with different values`);
    read[name] = checked;
  }
  return read as ReadStorageOptions<T>;
}

function check(value: unknown, { kind }: StorageOption, key: string, store: string): unknown {
  if (kind === "string" || kind === "secret") {
    if (typeof value === "string" && value !== "") return value;
    throw invalid(store, `${key} must be a text that is not empty`);
  }
  if (kind === "boolean") {
    if (typeof value === "boolean") return value;
    if (value === "true" || value === "false") return value === "true";
    throw invalid(store, `${key} must be true or false`);
  }
  if (kind === "integer") {
    const number = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
    if (Number.isSafeInteger(number) && (number as number) > 0) return number;
    throw invalid(store, `${key} must be a whole number above 0`);
  }
  if (typeof value === "object") return value;
  throw invalid(store, `${key} must be an object`);
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function invalid(store: string, what: string): OmniQError {
  return new OmniQError("OMNIQ_CONFIG_INVALID", `The storage options of ${store} can't be used: ${what}`);
}

/** The container and the prefix of a store's URL. */
export interface StoreLocation {
  readonly container: string;
  /** Empty, or a path that ends in `/`. */
  readonly prefix: string;
}

/**
 * Reads `scheme://container/prefix`. Throws `OMNIQ_CONFIG_INVALID` for anything else: a query, a port, an empty part of the path, or a
 * character that stores disagree about.
 */
export function readStoreUrl(url: string, store: string): StoreLocation {
  const match = /^[a-z][a-z0-9+.-]*:\/\/(?<container>[^/?#]+)(?<path>\/[^?#]*)?$/i.exec(url);
  if (match === null)
    throw new OmniQError(
      "OMNIQ_CONFIG_INVALID",
      `The URL of ${store} must be scheme://container/prefix, without a query`,
    );
  return {
    container: match.groups?.["container"] ?? "",
    prefix: checkStorePrefix(match.groups?.["path"] ?? "", store),
  };
}

/** A prefix in its one form: empty, or ended by `/` and not begun by it. */
export function checkStorePrefix(prefix: string, store: string): string {
  const trimmed = prefix.replaceAll(/^\/+|\/+$/g, "");
  if (trimmed === "") return "";
  // What remains is the same name in every store, URL and signature.
  if (!/^[A-Za-z0-9!_.*'()=-]+(\/[A-Za-z0-9!_.*'()=-]+)*$/.test(trimmed) || /(^|\/)\.\.?(\/|$)/.test(trimmed)) {
    throw new OmniQError(
      "OMNIQ_CONFIG_INVALID",
      `The prefix of ${store} must be made of letters, digits and !_.*'()=- in parts that are divided by single slashes`,
    );
  }
  if (trimmed.length > 512)
    throw new OmniQError("OMNIQ_CONFIG_INVALID", `The prefix of ${store} must be at most 512 characters`);
  return `${trimmed}/`;
}

/** True for the URL of a service; `localhost:9000`, which is a URL of the scheme `localhost`, is none. */
export function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text);
}
