// Entries of a configuration with their origin, and the list of problems that is reported in one error.
import { OmniQError, type OmniQErrorCode } from "../errors.ts";
import { canonicalName } from "./names.ts";

/** Where a layer of configuration was written. */
export interface Source {
  readonly kind: "file" | "environment" | "code";
  /** For messages: the file's name, "environment" or "code". */
  readonly label: string;
}

/** One value of a configuration, with its name as the user wrote it. */
export interface Entry {
  readonly path: string;
  readonly value: unknown;
  /** The value is text of a variable and still to be read by the kind that is wanted. */
  readonly text: boolean;
  readonly source: Source;
}

type ProblemCode = Extract<
  OmniQErrorCode,
  "OMNIQ_CONFIG_INVALID" | "OMNIQ_ADAPTER_NOT_FOUND" | "OMNIQ_ADAPTER_INCOMPATIBLE"
>;

/** Collects what is wrong, so that the user sees all of it at once. Messages never carry values, which may be secret. */
export class Problems {
  readonly #found: { readonly code: ProblemCode; readonly message: string; readonly cause: unknown }[] = [];

  /** Adds a problem of one entry. */
  at(
    entry: Pick<Entry, "path" | "source">,
    text: string,
    code: ProblemCode = "OMNIQ_CONFIG_INVALID",
    cause?: unknown,
  ): void {
    this.add(`${entry.path} (${entry.source.label}): ${text}`, code, cause);
  }

  add(message: string, code: ProblemCode = "OMNIQ_CONFIG_INVALID", cause?: unknown): void {
    if (!this.#found.some((problem) => problem.message === message)) this.#found.push({ code, message, cause });
  }

  get any(): boolean {
    return this.#found.length > 0;
  }

  /** Throws one error for all problems; its code is theirs where they share one, else `OMNIQ_CONFIG_INVALID`. */
  throwIfAny(): void {
    const [first, ...others] = this.#found;
    if (first === undefined) return;
    const options = first.cause === undefined ? {} : { cause: first.cause };
    if (others.length === 0)
      throw new OmniQError(first.code, `The configuration is not valid: ${first.message}`, options);
    const code = others.every((problem) => problem.code === first.code) ? first.code : "OMNIQ_CONFIG_INVALID";
    const list = this.#found.map((problem) => `\n  - ${problem.message}`).join("");
    throw new OmniQError(code, `The configuration has ${this.#found.length} problems:${list}`, options);
  }
}

/** True for what a file or an object literal makes, false for arrays and instances of classes. */
export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

/** The keys of an object under their canonical names; one key given in two spellings is a problem. */
export function readKeys(
  object: Readonly<Record<string, unknown>>,
  prefix: string,
  source: Source,
  problems: Problems,
): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const [key, value] of Object.entries(object)) {
    if (value === undefined) continue;
    const path = prefix === "" ? key : `${prefix}.${key}`;
    const name = canonicalName(key);
    const earlier = entries.get(name);
    const entry = { path, value, text: false, source };
    if (earlier === undefined) entries.set(name, entry);
    else problems.at(entry, `given twice, here and as ${earlier.path}; keep one of them`);
  }
  return entries;
}
