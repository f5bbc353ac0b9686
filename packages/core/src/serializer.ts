// How inputs, outputs and errors become text, and the default way: JSON that also carries what JavaScript has beyond
// it.
import { OmniQError, isOmniQError, type OmniQErrorCode } from "./errors.ts";
import { isWellFormed } from "./limits.ts";
import { cutText, errorName, isErrorField, isInstance, ownKeys, readProperty, textOf } from "./thrown-text.ts";

/** Turns values into text and back. `deserialize` must never run or import anything. */
export interface Serializer {
  readonly name: string;
  serialize(value: unknown): string;
  deserialize(text: string): unknown;
}

/**
 * The property that marks what plain JSON cannot say. An object of the user's that has it is itself wrapped, so
 * nothing is mistaken.
 */
const tag = "$omniq";
/** Deeper values are refused, so that no reader runs out of stack. */
const maxDepth = 500;

/** What a value that is no object is inside of. */
const none: Set<object> = new Set();

interface Frame {
  readonly key: string;
  readonly parent: Frame | undefined;
}

/**
 * The default serializer. Plain JSON stays plain JSON. Beyond it: `undefined`, `NaN`, `Infinity`, `-Infinity`, `-0`,
 * `bigint`, `Date`,
 * `Map`, `Set`, bytes (`Uint8Array` and `Buffer`, read back as `Uint8Array`) and errors (name, message, stack, cause,
 * code and own plain fields; an {@link OmniQError} is one again), nested up to 500 levels.
 *
 * Functions, symbols, cycles and instances of classes are refused with `OMNIQ_SERIALIZATION_FAILED`, which names the
 * path, never the value.
 * A value that stands in two places is written twice. Prototypes are not kept; keys such as `__proto__` are plain
 * data. Inside an error, a
 * cause that cannot be written is left out, so that a failure can always be stored.
 */
export const jsonSerializer: Serializer = {
  name: "json",
  serialize(value) {
    try {
      return JSON.stringify(encode(value, undefined, typeof value === "object" ? new Set() : none, 0));
    } catch (error) {
      if (isOmniQError(error)) throw error;
      // A getter or a proxy of the user's threw; its message may quote data, so it goes along as the cause only.
      throw new OmniQError("OMNIQ_SERIALIZATION_FAILED", "Reading the value failed while it was made into text", {
        cause: error,
      });
    }
  },
  deserialize(text) {
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      throw new OmniQError(
        "OMNIQ_SERIALIZATION_FAILED",
        `Stored text of ${text.length} characters is not JSON; was it written with another serializer?`,
      );
    }
    return decode(parsed, 0);
  },
};

/**
 * A value as text that every store takes. Throws `OMNIQ_SERIALIZATION_FAILED`, and nothing else: where the serializer throws, gives no string,
 * or gives a text with NUL or lone surrogates.
 */
export function serializeWith(serializer: Serializer, value: unknown): string {
  let text: unknown;
  try {
    text = serializer.serialize(value);
  } catch (cause) {
    if (isOmniQError(cause, "OMNIQ_SERIALIZATION_FAILED")) throw cause;
    throw new OmniQError("OMNIQ_SERIALIZATION_FAILED", "The serializer failed", { cause });
  }
  if (typeof text !== "string")
    throw new OmniQError("OMNIQ_SERIALIZATION_FAILED", `The serializer gave no string, but ${typeof text}`);
  // JSON escapes both; looking through every text would cost for nothing.
  if (serializer === jsonSerializer) return text;
  if (text.includes("\0") || !isWellFormed(text))
    throw new OmniQError(
      "OMNIQ_SERIALIZATION_FAILED",
      "The serializer gave a text with NUL or lone surrogates, which not every store takes; encode bytes as base64",
    );
  return text;
}

function refuse(what: string, frame: Frame | undefined): OmniQError {
  let path = "";
  for (let at = frame; at; at = at.parent) path = at.key + path;
  return new OmniQError("OMNIQ_SERIALIZATION_FAILED", `value${path} is ${what}, which cannot be made into text`);
}

const wrap = (kind: string, value?: unknown): object =>
  value === undefined ? { [tag]: kind } : { [tag]: kind, value };

/** Sets a property as plain data, `__proto__` too. */
function setOwn(target: object, key: string, value: unknown): void {
  if (key === "__proto__")
    Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true });
  else (target as Record<string, unknown>)[key] = value;
}

function propertyKey(key: string): string {
  return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}

function encode(value: unknown, frame: Frame | undefined, open: Set<object>, depth: number): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "undefined":
      return wrap("undefined");
    case "number":
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      return wrap("number", Object.is(value, -0) ? "-0" : String(value));
    case "bigint":
      return wrap("bigint", value.toString());
    case "function":
      throw refuse("a function", frame);
    case "symbol":
      throw refuse("a symbol", frame);
    default:
      break;
  }
  const object = value as object | null;
  if (object === null) return null;
  if (open.has(object)) throw refuse("part of a cycle", frame);
  if (depth >= maxDepth) throw refuse(`more than ${maxDepth} levels deep`, undefined);
  open.add(object);
  try {
    return encodeObject(object, frame, open, depth + 1);
  } finally {
    open.delete(object);
  }
}

function encodeObject(object: object, frame: Frame | undefined, open: Set<object>, depth: number): unknown {
  if (Array.isArray(object)) {
    const items: unknown[] = [];
    for (let index = 0; index < object.length; index++) {
      items.push(encode(object[index], { key: `[${index}]`, parent: frame }, open, depth));
    }
    return items;
  }
  if (object instanceof Date) return wrap("date", Number.isNaN(object.getTime()) ? "invalid" : object.toISOString());
  if (object instanceof Uint8Array) {
    return wrap("bytes", Buffer.from(object.buffer, object.byteOffset, object.byteLength).toString("base64"));
  }
  if (object instanceof Map) {
    let index = 0;
    const entries: unknown[] = [];
    for (const [key, item] of object) {
      const at = index++;
      entries.push([
        encode(key, { key: `.keys[${at}]`, parent: frame }, open, depth),
        encode(item, { key: `.values[${at}]`, parent: frame }, open, depth),
      ]);
    }
    return wrap("map", entries);
  }
  if (object instanceof Set) {
    let index = 0;
    return wrap(
      "set",
      [...object].map((item) => encode(item, { key: `.values[${index++}]`, parent: frame }, open, depth)),
    );
  }
  if (object instanceof Error || isOmniQError(object)) return wrap("error", encodeError(object as Error, open, depth));
  const prototype: unknown = Object.getPrototypeOf(object);
  // Plain objects of other realms (vm contexts, test runners) have an Object.prototype of their own: one whose own
  // prototype is null.
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) throw refuse("an instance of a class", frame);
  if (prototype !== null && prototype !== Object.prototype && !Object.hasOwn(prototype as object, "hasOwnProperty")) {
    throw refuse("an instance of a class", frame);
  }
  if (Object.prototype.toString.call(object) !== "[object Object]") throw refuse("an instance of a class", frame);
  if (Object.getOwnPropertySymbols(object).length > 0) throw refuse("an object with a symbol as a key", frame);
  const plain: Record<string, unknown> = {};
  for (const key of Object.keys(object)) {
    setOwn(
      plain,
      key,
      encode((object as Record<string, unknown>)[key], { key: propertyKey(key), parent: frame }, open, depth),
    );
  }
  return Object.hasOwn(plain, tag) ? wrap("object", plain) : plain;
}

function encodeError(error: Error, open: Set<object>, depth: number): object {
  const message = readProperty(error, "message");
  const stack = readProperty(error, "stack");
  const code = readProperty(error, "code");
  const cause = readProperty(error, "cause");
  const errors = readProperty(error, "errors");
  const written: Record<string, unknown> = { name: errorName(error), message: textOf(message ?? "") };
  if (typeof stack === "string") written["stack"] = cutText(stack);
  if (typeof code === "number" || typeof code === "string") written["code"] = code;
  if (isOmniQError(error)) {
    written["omniq"] = {
      retryable: readProperty(error, "retryable") === true,
      taskId: readText(error, "taskId"),
      delayMs: readNumber(error, "delayMs"),
    };
  }
  if (cause !== undefined) {
    try {
      written["cause"] = encode(cause, undefined, open, depth);
    } catch {
      // A failure must always be storable: a cause with sockets or cycles in it stays out.
    }
  }
  if (isInstance(error, AggregateError) && Array.isArray(errors)) {
    const inner: unknown[] = [];
    for (const one of errors as unknown[]) {
      try {
        inner.push(encode(one, undefined, open, depth));
      } catch {
        // As above.
      }
    }
    written["errors"] = inner;
  }
  const fields = encodeFields(error, open, depth);
  if (fields !== undefined) written["fields"] = fields;
  return written;
}

function readText(object: object, key: string): string | undefined {
  const value = readProperty(object, key);
  return typeof value === "string" ? value : undefined;
}

function readNumber(object: object, key: string): number | undefined {
  const value = readProperty(object, key);
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** What an error has of its own is kept with it: a status, a path, details. */
function encodeFields(error: object, open: Set<object>, depth: number): Record<string, unknown> | undefined {
  let fields: Record<string, unknown> | undefined;
  for (const key of ownKeys(error)) {
    if (!isErrorField(key)) continue;
    try {
      const value = encode((error as Record<string, unknown>)[key], undefined, open, depth);
      (fields ??= {})[key] = value;
    } catch {
      // As a cause: what cannot be written is left out.
    }
  }
  return fields;
}

function decodeFields(error: Error, fields: unknown, depth: number): void {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return;
  for (const [key, value] of Object.entries(fields)) {
    // Nothing that is read may replace what an error does.
    if (isErrorField(key) && !(key in error))
      Object.defineProperty(error, key, {
        value: decode(value, depth),
        enumerable: true,
        writable: true,
        configurable: true,
      });
  }
}

function decode(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  // Text of our own nests at most two JSON levels a level, and wraps add two more; anything beyond was not written
  // here.
  if (depth > maxDepth * 4)
    throw new OmniQError("OMNIQ_SERIALIZATION_FAILED", "Stored text is nested too deep to be read");
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) value[index] = decode(value[index], depth + 1);
    return value;
  }
  if (Object.hasOwn(value, tag)) return unwrap(value as Record<string, unknown>, depth + 1);
  return decodeProperties(value as Record<string, unknown>, depth + 1);
}

function decodeProperties(object: Record<string, unknown>, depth: number): Record<string, unknown> {
  for (const key of Object.keys(object)) {
    const item = object[key];
    if (typeof item === "object" && item !== null) setOwn(object, key, decode(item, depth));
  }
  return object;
}

const numbers: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
  "-0": -0,
};

function unwrap(wrapped: Record<string, unknown>, depth: number): unknown {
  const kind = wrapped[tag];
  const value = wrapped["value"];
  switch (kind) {
    case "undefined":
      return undefined;
    case "number":
      if (typeof value === "string" && Object.hasOwn(numbers, value)) return numbers[value];
      break;
    case "bigint":
      if (typeof value === "string" && /^-?\d+$/.test(value)) return BigInt(value);
      break;
    case "date":
      if (typeof value === "string") return new Date(value === "invalid" ? Number.NaN : value);
      break;
    case "bytes":
      if (typeof value === "string") return new Uint8Array(Buffer.from(value, "base64"));
      break;
    case "map":
      if (Array.isArray(value) && value.every((entry) => Array.isArray(entry) && entry.length === 2)) {
        return new Map(decode(value, depth) as [unknown, unknown][]);
      }
      break;
    case "set":
      if (Array.isArray(value)) return new Set(decode(value, depth) as unknown[]);
      break;
    case "object":
      if (typeof value === "object" && value !== null) return decodeProperties(value as Record<string, unknown>, depth);
      break;
    case "error":
      if (typeof value === "object" && value !== null) return decodeError(value as Record<string, unknown>, depth);
      break;
    default:
      break;
  }
  throw new OmniQError(
    "OMNIQ_SERIALIZATION_FAILED",
    "Stored text has a mark that this version cannot read; was it written by a newer version or by another serializer?",
  );
}

/**
 * Only these are made by name; any other name is given to a plain `Error`, since nothing that is read may choose what
 * runs.
 */
const errorTypes: Readonly<Record<string, new (message: string) => Error>> = {
  EvalError,
  RangeError,
  ReferenceError,
  SyntaxError,
  TypeError,
  URIError,
};

function decodeError(written: Record<string, unknown>, depth: number): Error {
  const name = textOf(written["name"] ?? "Error", 255);
  const message = textOf(written["message"] ?? "");
  const cause = Object.hasOwn(written, "cause") ? decode(written["cause"], depth) : undefined;
  const omniq = written["omniq"] as { retryable?: unknown; taskId?: unknown; delayMs?: unknown } | undefined;
  let error: Error;
  if (typeof omniq === "object" && omniq !== null) {
    error = new OmniQError(textOf(written["code"] ?? "OMNIQ_TASK_FAILED", 255) as OmniQErrorCode, message, {
      cause,
      retryable: omniq.retryable === true,
      taskId: typeof omniq.taskId === "string" ? omniq.taskId : undefined,
      delayMs: typeof omniq.delayMs === "number" ? omniq.delayMs : undefined,
    });
  } else {
    const errors = written["errors"];
    if (Array.isArray(errors)) error = new AggregateError(decode(errors, depth) as unknown[], message);
    else
      error = Object.hasOwn(errorTypes, name)
        ? new (errorTypes[name] as new (message: string) => Error)(message)
        : new Error(message);
    if (cause !== undefined) define(error, "cause", cause);
    if (error.name !== name) define(error, "name", name);
    if (typeof written["code"] === "string" || typeof written["code"] === "number")
      Object.assign(error, { code: written["code"] });
  }
  decodeFields(error, written["fields"], depth);
  define(error, "stack", typeof written["stack"] === "string" ? written["stack"] : `${name}: ${message}`);
  return error;
}

function define(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, enumerable: false, writable: true, configurable: true });
}
