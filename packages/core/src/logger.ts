// Where OmniQ says what happens: one small interface that most loggers satisfy, and a default for the console.
import { OmniQError } from "./errors.ts";
import { describeType } from "./limits.ts";
import {
  cutText,
  errorMessage,
  errorName,
  isInstance,
  maxErrorCharacters,
  readProperty,
  textOf,
} from "./thrown-text.ts";

/** Takes what OmniQ and handlers have to say. `fields` never hold payloads or passwords. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}
export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** A logger that writes lines to the standard error stream, from `level` on. The client's default is `warn`. */
export function consoleLogger(level: LogLevel = "warn"): Logger {
  const write =
    (at: LogLevel) =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      if (levels.indexOf(at) < levels.indexOf(level)) return;
      const rest = fields === undefined ? "" : ` ${describe(fields)}`;
      process.stderr.write(`${new Date().toISOString()} ${at} ${textOf(message)}${rest}\n`);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

/** Fields as text. Never throws: what cannot be written is named. */
function describe(fields: Readonly<Record<string, unknown>>): string {
  try {
    return cutText(JSON.stringify(fields, replacer) ?? "");
  } catch {
    const parts: string[] = [];
    try {
      for (const key of Object.keys(fields)) parts.push(describeField(key, readProperty(fields, key)));
    } catch {
      return "(fields that cannot be written)";
    }
    return cutText(`{${parts.join(",")}}`);
  }
}

function describeField(key: string, value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value, replacer) ?? '"(nothing that can be written)"';
  } catch {
    text = '"(cannot be written)"';
  }
  return `${JSON.stringify(key)}:${text}`;
}

function replacer(_key: string, value: unknown): unknown {
  if (isInstance(value, Error)) {
    const stack = readProperty(value, "stack");
    return typeof stack === "string"
      ? cutText(stack, maxErrorCharacters / 4)
      : `${errorName(value)}: ${errorMessage(value, maxErrorCharacters / 4)}`;
  }
  return typeof value === "bigint" ? String(value) : value;
}

/**
 * A logger that harms nobody: what the user's own throws, or rejects with, is dropped. Throws `OMNIQ_INVALID_OPTION` for what is no logger.
 */
export function safeLogger(logger: Logger): Logger {
  const call =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      try {
        const answer: unknown = fields === undefined ? logger[level](message) : logger[level](message, fields);
        // An asynchronous logger that fails must not end the process by an unhandled rejection.
        if (typeof answer === "object" && answer !== null && typeof readProperty(answer, "then") === "function")
          void Promise.resolve(answer).catch(() => undefined);
      } catch {
        // Where the failure of a logger would be told is the logger itself.
      }
    };
  for (const level of ["debug", "info", "warn", "error"] as const) {
    const method = readProperty(logger, level);
    if (typeof method !== "function")
      throw new OmniQError("OMNIQ_INVALID_OPTION", `logger.${level} must be a function, not ${describeType(method)}`);
  }
  return { debug: call("debug"), info: call("info"), warn: call("warn"), error: call("error") };
}
