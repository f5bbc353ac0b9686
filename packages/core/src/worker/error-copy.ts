// What a handler threw, as a copy that can always be read, logged and stored: bounded, plain, and made without ever throwing.
import { types } from "node:util";
import { isOmniQError, OmniQError } from "../errors.ts";
import type { EventError } from "../events.ts";

/** How much of an error is kept, in characters and counts. */
interface Bounds {
  readonly message: number;
  readonly stack: number;
  /** Of a text in an own field. */
  readonly text: number;
  /** Fields of an error or an object, items of an array. */
  readonly entries: number;
  /** Causes of causes, objects in objects. */
  readonly depth: number;
}
/** What is usual has far less. */
const whole: Bounds = { message: 8_000, stack: 16_000, text: 2_000, entries: 30, depth: 6 };
/** Where all of that is too much. */
const short: Bounds = { message: 2_000, stack: 2_000, text: 200, entries: 5, depth: 2 };

/** Characters of a log line of a handler's. */
export const maxLineLength = 1_048_576;
const unreadable = "a value that cannot be read";
const marked: ReadonlySet<string> = new Set(["name", "message", "stack", "cause", "errors", "__proto__"]);
const markedOmniq: ReadonlySet<string> = new Set([...marked, "code", "retryable", "taskId", "delayMs"]);

/** Values of a user's may throw wherever they are touched: getters, proxies, `toString`. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length).toWellFormed()}...` : text;
}
function field(value: object, key: string): unknown {
  return attempt(() => (value as Record<string, unknown>)[key]);
}

/** Any value as text of a bounded length. Never throws. */
export function textOf(value: unknown, length = 2_000): string {
  return cut(attempt(() => String(value)) ?? unreadable, length);
}
/** True for errors of any realm. Never throws. */
function isError(value: unknown): value is object {
  return (
    types.isNativeError(value) ||
    (attempt(() => value instanceof Error) ?? false) ||
    (attempt(() => isOmniQError(value)) ?? false)
  );
}
/** The name that an error has or its class; `Error` where it has none. */
function nameOf(error: object): string {
  const name = field(error, "name");
  if (typeof name === "string" && name !== "" && name !== "Error") return cut(name, 200);
  const constructor = field(error, "constructor");
  const own = typeof constructor === "function" ? attempt(() => constructor.name) : undefined;
  return typeof own === "string" && own !== "" && own !== "Object" ? cut(own, 200) : "Error";
}
function messageOf(error: object, length: number): string {
  const message = field(error, "message");
  if (message !== undefined && message !== "") return textOf(message, length);
  const name = nameOf(error);
  const code = field(error, "code");
  // Node's own say nothing but a code where several addresses refuse.
  return typeof code === "string" && code !== ""
    ? `${name} with the code ${cut(code, 100)}`
    : `${name} without a message`;
}

/** What somebody who reads a list wants to know of what was thrown: an error's own name and message, else the value as text. */
export function describeThrown(thrown: unknown): EventError {
  if (isError(thrown)) return { name: nameOf(thrown), message: messageOf(thrown, 2_000) };
  const message = typeof thrown === "object" && thrown !== null ? field(thrown, "message") : undefined;
  const text = typeof message === "string" && message !== "" ? cut(message, 2_000) : textOf(thrown);
  return { name: "Error", message: text === "" ? "an empty text was thrown" : text };
}

/** What an event tells of a failed attempt: the user's error where there is one, under its own name. */
export function eventErrorOf(error: OmniQError): EventError {
  const { cause } = error;
  if (error.code !== "OMNIQ_TASK_FAILED" || !isError(cause))
    return { name: error.name, message: cut(error.message, 2_000) };
  const said = describeThrown(cause);
  // The handler may have said something else itself (`failTask`).
  return error.message.endsWith(said.message) ? said : { name: said.name, message: cut(error.message, 2_000) };
}

/** A copy of an error that can be stored. `short` where the whole is too long. */
export function copyError(error: OmniQError, length: "whole" | "short" = "whole"): OmniQError {
  return copyOf(error, length === "whole" ? whole : short, 0) as OmniQError;
}

/** A copy of anything that was thrown; what is neither error nor plain data is left out. */
export function copyThrown(thrown: unknown): unknown {
  return copyOf(thrown, whole, 1);
}

function copyOf(value: unknown, bounds: Bounds, depth: number): unknown {
  switch (typeof value) {
    case "string":
      return cut(value, bounds.text);
    case "symbol":
      return depth === 1 ? textOf(value) : undefined;
    case "function":
      return undefined;
    case "bigint":
      return value > -(2n ** 256n) && value < 2n ** 256n ? value : undefined;
    case "object":
      break;
    default:
      return value;
  }
  if (value === null) return value;
  if (depth > bounds.depth) return undefined;
  if (isError(value)) return copyOfError(value, bounds, depth);
  if (types.isDate(value)) return attempt(() => new Date((value as Date).getTime()));
  if (attempt(() => Array.isArray(value)) === true) {
    const length = field(value, "length");
    const items = value as readonly unknown[];
    return Array.from({ length: Math.min(typeof length === "number" ? length : 0, bounds.entries) }, (_, index) =>
      copyOf(
        attempt(() => items[index]),
        bounds,
        depth + 1,
      ),
    );
  }
  if (types.isAnyArrayBuffer(value) || ArrayBuffer.isView(value) || types.isMap(value) || types.isSet(value))
    return undefined;
  return copyFields(value, {}, none, bounds, depth);
}
const none: ReadonlySet<string> = new Set();

/** Own data properties; what a getter gives is no plain field. */
function copyFields<T extends object>(
  from: object,
  to: T,
  except: ReadonlySet<string>,
  bounds: Bounds,
  depth: number,
): T {
  let left = bounds.entries;
  for (const key of attempt(() => Object.keys(from)) ?? []) {
    if (except.has(key) || key === "__proto__" || key.length > 200) continue;
    const property = attempt(() => Object.getOwnPropertyDescriptor(from, key));
    const value = copyOf(property?.value, bounds, depth + 1);
    if (value === undefined) continue;
    if (left-- === 0) break;
    Object.defineProperty(to, key, { value, enumerable: true, writable: true, configurable: true });
  }
  return to;
}

function copyOfError(error: object, bounds: Bounds, depth: number): Error {
  const message = messageOf(error, bounds.message);
  const cause = copyOf(field(error, "cause"), bounds, depth + 1);
  let copy: Error;
  let except = marked;
  const errors = field(error, "errors");
  const code = field(error, "code");
  const { stackTraceLimit } = Error;
  // Its stack is taken from the original.
  Error.stackTraceLimit = 0;
  try {
    if ((attempt(() => isOmniQError(error)) ?? false) && typeof code === "string") {
      const [taskId, delayMs] = [field(error, "taskId"), field(error, "delayMs")];
      copy = new OmniQError(code as OmniQError["code"], message, {
        retryable: field(error, "retryable") === true,
        taskId: typeof taskId === "string" ? taskId : undefined,
        delayMs: typeof delayMs === "number" ? delayMs : undefined,
      });
      except = markedOmniq;
    } else if (attempt(() => Array.isArray(errors)) === true) {
      copy = new AggregateError(copyOf(errors, bounds, depth + 1) as unknown[], message);
    } else copy = new Error(message);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  const hidden = (key: string, value: unknown): void =>
    void Object.defineProperty(copy, key, { value, enumerable: false, writable: true, configurable: true });
  const name = nameOf(error);
  if (copy.name !== name) hidden("name", name);
  if (cause !== undefined) hidden("cause", cause);
  hidden("stack", stackOf(error, `${name}: ${message}`, bounds.stack));
  return copyFields(error, copy, except, bounds, depth);
}

/** The message stands in the stack once more: where it is long, the frames are worth more. */
function stackOf(error: object, head: string, length: number): string {
  const stack = field(error, "stack");
  if (typeof stack !== "string") return head;
  if (stack.length <= length) return stack;
  const frames = stack.indexOf("\n    at ");
  return frames < 0 ? cut(stack, length) : `${cut(stack.slice(0, frames), 2_000)}${cut(stack.slice(frames), length)}`;
}
