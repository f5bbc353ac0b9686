// The client's logger for the worker's own words: a logger that throws must not end what it was told of.
import type { Logger } from "../logger.ts";

export function safeLogger(logger: Logger): Logger {
  const at =
    (level: "debug" | "info" | "warn" | "error") =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      try {
        logger[level](message, fields);
      } catch {
        // Where a logger cannot say what happened, nothing else can.
      }
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
