// Where OmniQ says what happens: one small interface that most loggers satisfy, and a default for the console.

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
      process.stderr.write(`${new Date().toISOString()} ${at} ${message}${rest}\n`);
    };
  return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
}

function describe(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields, (_key, value: unknown) => {
      if (value instanceof Error) return value.stack ?? `${value.name}: ${value.message}`;
      return typeof value === "bigint" ? String(value) : value;
    });
  } catch {
    return "(fields that cannot be written)";
  }
}
