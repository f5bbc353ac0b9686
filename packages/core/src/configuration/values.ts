// Reads one value by the kind that is wanted, from code, a file or the text of a variable.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { OptionKind } from "../backend.ts";
import { describeType } from "../limits.ts";
import { parseJson } from "./json.ts";
import { isPlainObject, type Entry, type Problems } from "./problems.ts";

/** The value, or undefined after a problem was noted. Relative paths count from `folder`. */
export function readValue(kind: OptionKind, entry: Entry, folder: string, problems: Problems): unknown {
  // What the compiler let pass in code may be null where the adapter gives it a meaning; an empty YAML value has none.
  if (entry.value === null && entry.source.kind === "code") return null;
  if (kind === "code") {
    if (entry.source.kind === "code") return entry.value;
    problems.at(entry, "can only be given in code");
    return undefined;
  }
  const read = entry.text
    ? readText(kind, (entry.value as string).trim(), entry.value as string)
    : readPlain(kind, entry.value);
  if (read === undefined) {
    const given = entry.text ? "what was given" : describeType(entry.value);
    const hint =
      !entry.text && wantsText(kind) && ["number", "boolean"].includes(typeof entry.value) ? "; put it in quotes" : "";
    problems.at(entry, `must be ${expectation[kind]}, not ${given}${hint}`);
    return undefined;
  }
  return kind === "path" ? resolvePath(read.value as string, folder) : read.value;
}

const expectation: Readonly<Record<OptionKind, string>> = {
  string: "a string",
  secret: "a string",
  path: "a path",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  strings: "a list of strings",
  record: "a map of keys (in a variable: JSON)",
  code: "given in code",
};

function wantsText(kind: OptionKind): boolean {
  return kind === "string" || kind === "secret" || kind === "path";
}

type Read = { readonly value: unknown } | undefined;

function readPlain(kind: OptionKind, value: unknown): Read {
  switch (kind) {
    case "string":
    case "secret":
      return typeof value === "string" ? { value } : undefined;
    case "path":
      if (value instanceof URL) return { value: value.href };
      return typeof value === "string" && value !== "" ? { value } : undefined;
    case "integer":
      return Number.isSafeInteger(value) ? { value } : undefined;
    case "number":
      return Number.isFinite(value) ? { value } : undefined;
    case "boolean":
      return typeof value === "boolean" ? { value } : undefined;
    case "strings":
      if (typeof value === "string") return splitList(value);
      return Array.isArray(value) && value.every((item) => typeof item === "string") ? { value } : undefined;
    case "record":
      return isPlainObject(value) ? { value } : undefined;
    case "code":
      return { value };
  }
}

function readText(kind: OptionKind, text: string, whole: string): Read {
  switch (kind) {
    case "integer":
      return /^[+-]?\d+$/.test(text) ? readPlain(kind, Number(text)) : undefined;
    case "number":
      return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? readPlain(kind, Number(text)) : undefined;
    case "boolean":
      if (/^(true|1|yes|on)$/i.test(text)) return { value: true };
      return /^(false|0|no|off)$/i.test(text) ? { value: false } : undefined;
    case "record": {
      const parsed = parseJson(text);
      return "value" in parsed ? readPlain(kind, parsed.value) : undefined;
    }
    case "strings":
      return splitList(text);
    case "secret":
      // A password may begin or end with a space.
      return { value: whole };
    default:
      return readPlain(kind, text);
  }
}

function splitList(text: string): Read {
  const items = text
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "");
  return items.length === 0 ? undefined : { value: items };
}

/** Absolute. URLs of stores (`s3://…`) and special names (`:memory:`) are left as they are. */
export function resolvePath(path: string, folder: string): string {
  if (path.startsWith("file://")) return fileURLToPath(path);
  if (path.startsWith(":") || /^[a-z][a-z0-9+.-]*:\/\//i.test(path)) return path;
  return resolve(folder, path);
}

/** Deep for plain data; anything else (clients, functions) is equal only to itself. */
export function equalValues(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => equalValues(item, b[index]));
  if (!isPlainObject(a) || !isPlainObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equalValues(a[key], b[key]))
  );
}
