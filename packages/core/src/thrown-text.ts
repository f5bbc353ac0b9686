// Reads whatever was thrown: nothing here ever throws, and no text grows without bound.

/** Characters that a message, a stack or another text of an error keeps; the rest is cut off. */
export const maxErrorCharacters = 65_536;

/** Causes inside causes that are looked at. */
const maxCauses = 16;
/** Levels of plain data inside an error's fields. */
const maxLevels = 8;
/** Fields of one error, or items of one list inside it. */
const maxItems = 100;

/** A text of at most so many characters, well-formed, that says when it was cut. */
export function cutText(text: string, limit: number = maxErrorCharacters): string {
  if (text.length <= limit) return text.toWellFormed();
  return `${text.slice(0, limit).toWellFormed()}... (${text.length - limit} more characters)`;
}

/** A property of anything; `undefined` where reading it throws. */
export function readProperty(value: unknown, key: PropertyKey): unknown {
  try {
    return value === null || value === undefined ? undefined : (value as Record<PropertyKey, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** `instanceof` that a proxy cannot make throw. */
export function isInstance<T>(value: unknown, constructor: abstract new (...args: never) => T): value is T {
  try {
    return value instanceof constructor;
  } catch {
    return false;
  }
}

/** Any value as text, cut to a limit. */
export function textOf(value: unknown, limit: number = maxErrorCharacters): string {
  try {
    return cutText(typeof value === "string" ? value : String(value), limit);
  } catch {
    return "(a value without text)";
  }
}

/** The name of the error's class: what it calls itself, else its constructor's name. Of what is no error: what it calls itself, else "Error". */
export function errorName(thrown: unknown): string {
  const name = readProperty(thrown, "name");
  const own = typeof name === "string" && name !== "" ? cutText(name, 255) : "Error";
  if (own !== "Error" || !isInstance(thrown, Error)) return own;
  const constructor = readProperty(readProperty(thrown, "constructor"), "name");
  return typeof constructor === "string" && constructor !== "" ? cutText(constructor, 255) : own;
}

/** What a thrown value has to say: its message; else its name, or the value as text. Never empty. */
export function errorMessage(thrown: unknown, limit: number = maxErrorCharacters): string {
  if (typeof thrown !== "object" || thrown === null) return textOf(thrown, limit) || "(an empty text was thrown)";
  const message = readProperty(thrown, "message");
  if (message !== undefined && message !== null && message !== "") return textOf(message, limit);
  if (isInstance(thrown, Error)) {
    // An error without a message still has a code or a cause, or at least a class.
    const code = readProperty(thrown, "code");
    const cause = readProperty(thrown, "cause");
    const inner =
      cause === undefined || cause === null || cause === thrown ? undefined : readProperty(cause, "message");
    const name = errorName(thrown);
    const more = typeof code === "string" || typeof code === "number" ? ` (${textOf(code, 255)})` : "";
    return typeof inner === "string" && inner !== "" ? `${name}${more}: ${textOf(inner, limit)}` : `${name}${more}`;
  }
  const text = textOf(thrown, limit);
  return text === "[object Object]" ? "an object that is no error was thrown" : text;
}

/** What an error has of its own and is kept beside its own plain fields. */
const knownOfErrors: ReadonlySet<string> = new Set([
  ...["name", "message", "stack", "cause", "code", "errors"],
  ...["retryable", "taskId", "delayMs", "__proto__", "constructor", "toString", "then", "toJSON"],
]);

/** True for names that a stored error may give to a field of the error that is read from it. */
export function isErrorField(name: string): boolean {
  return !knownOfErrors.has(name);
}

/** Names of an object's own enumerable properties; none where it does not say. */
export function ownKeys(value: object): readonly string[] {
  try {
    return Object.keys(value).slice(0, maxItems);
  } catch {
    return [];
  }
}

interface Budget {
  left: number;
  readonly seen: Set<object>;
}

/**
 * A copy of what was thrown that is safe to look at, log and serialize: errors with their class's name, message, stack, code, own plain fields
 * and causes; other values as plain data. Cycles, getters that throw, functions, symbols and instances of classes are left out, and all texts
 * together have about as many characters as the limit.
 */
export function plainThrown(thrown: unknown, limit: number = maxErrorCharacters): unknown {
  try {
    return copy(thrown, { left: limit, seen: new Set() }, 0);
  } catch {
    return new Error("(an error that cannot be read)");
  }
}

function take(text: string, budget: Budget, share: number): string {
  const cut = cutText(text, Math.max(64, Math.floor(budget.left * share)));
  budget.left = Math.max(0, budget.left - cut.length);
  return cut;
}

/** What plain data cannot say. */
const nothing = Symbol("nothing");

function copy(value: unknown, budget: Budget, level: number): unknown {
  const copied = isInstance(value, Error) ? copyError(value, budget, level) : copyData(value, budget, level);
  return copied === nothing ? take(textOf(value), budget, 0.5) : copied;
}

function copyError(error: Error, budget: Budget, level: number): Error | typeof nothing {
  if (budget.seen.has(error) || level > maxCauses) return nothing;
  budget.seen.add(error);
  const plain = new Error(take(textOf(readProperty(error, "message") ?? ""), budget, 0.5));
  const hide = (key: string, value: unknown): void => {
    Object.defineProperty(plain, key, { value, enumerable: false, writable: true, configurable: true });
  };
  hide("name", errorName(error));
  const code = readProperty(error, "code");
  if (typeof code === "string" || typeof code === "number")
    Object.assign(plain, { code: typeof code === "string" ? cutText(code, 255) : code });
  const stack = readProperty(error, "stack");
  hide("stack", typeof stack === "string" ? take(stack, budget, 0.25) : `${plain.name}: ${plain.message}`);
  for (const key of ownKeys(error)) {
    if (!isErrorField(key) || budget.left === 0) continue;
    const field = copyData(readProperty(error, key), budget, level + 1);
    if (field !== nothing)
      Object.defineProperty(plain, key, { value: field, enumerable: true, writable: true, configurable: true });
  }
  const cause = readProperty(error, "cause");
  if (cause !== undefined && budget.left > 0) {
    const inner = isInstance(cause, Error) ? copyError(cause, budget, level + 1) : copyData(cause, budget, level + 1);
    if (inner !== nothing) hide("cause", inner);
  }
  const errors = readProperty(error, "errors");
  if (isInstance(error, AggregateError) && isList(errors)) {
    const inner = errors.slice(0, maxItems).map((one: unknown) => copy(one, budget, level + 1));
    hide("errors", inner);
  }
  return plain;
}

function isList(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

function copyData(value: unknown, budget: Budget, level: number): unknown {
  if (typeof value === "string") return take(value, budget, 0.5);
  if (typeof value === "function" || typeof value === "symbol") return nothing;
  if (typeof value !== "object" || value === null) return value;
  if (level > maxLevels || budget.seen.has(value) || budget.left === 0) return nothing;
  try {
    if (value instanceof Date) return new Date(value.getTime());
    if (value instanceof Error) return copyError(value, budget, level);
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return nothing;
    budget.seen.add(value);
    if (Array.isArray(value)) {
      return value
        .slice(0, maxItems)
        .map((item: unknown) => copyData(item, budget, level + 1))
        .map((item) => (item === nothing ? null : item));
    }
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) return nothing;
    const plain: Record<string, unknown> = {};
    for (const key of ownKeys(value)) {
      const item = copyData(readProperty(value, key), budget, level + 1);
      budget.left = Math.max(0, budget.left - key.length);
      if (item !== nothing)
        Object.defineProperty(plain, cutText(key, 255), {
          value: item,
          enumerable: true,
          writable: true,
          configurable: true,
        });
    }
    return plain;
  } catch {
    return nothing;
  }
}
