// Turns what Redis and ioredis throw into OmniQ's errors. Messages name the server, never what is stored in it.
import { isOmniQError, OmniQError } from "@omniq/core";

/** Answers that mean that the server can't serve for now. */
const away =
  /^(?:LOADING|CLUSTERDOWN|MASTERDOWN|READONLY|TRYAGAIN|BUSY|NOREPLICAS|MISCONF|MOVED|ASK|UNBLOCKED|FAILOVER|NOGOODSLAVE)\b|-(?:READONLY|MISCONF|NOREPLICAS|MASTERDOWN|CLUSTERDOWN)\b/;
/** Answers that stay the same however often one asks. */
const refused = /^(?:WRONGPASS|NOAUTH|NOPERM|ERR invalid password|ERR AUTH)/;
const network =
  /^(?:ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|ERR_SOCKET|ERR_STREAM)|Connection is closed|Stream isn't writeable|Command timed out|max retries per request|Socket timeout|None of startup nodes|Cluster isn't ready|ClusterAllFailedError|Failed to refresh slots|Too many Cluster redirections|All sentinels are unreachable|AbortError|Command aborted|connect E/;

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isNoScript(error: unknown): boolean {
  return messageOf(error).startsWith("NOSCRIPT");
}

/** A call that was sent, and whose connection broke before the answer came. */
export class Unanswered extends Error {
  override readonly name = "Unanswered";
}

/**
 * What is kept of an error of ioredis. The errors themselves carry the command with its arguments: passwords, payloads.
 */
function plain(error: unknown): Error {
  const { code, name, stack } = (error ?? {}) as { code?: unknown; name?: unknown; stack?: unknown };
  const cause = new Error(messageOf(error).slice(0, 500));
  if (typeof name === "string") cause.name = name;
  if (typeof stack === "string") cause.stack = stack.slice(0, 4_000);
  return typeof code === "string" ? Object.assign(cause, { code }) : cause;
}

/** The error that callers see. `what` names the server. `writes`: what was sent and not answered may have taken effect. */
export function failure(error: unknown, what: string, writes: boolean): OmniQError {
  if (isOmniQError(error)) return error;
  const message = messageOf(error);
  const { code = "", name = "" } = (error ?? {}) as { code?: string; name?: string };
  const make = (
    kind: "OMNIQ_BACKEND_UNAVAILABLE" | "OMNIQ_BACKEND_FULL" | "OMNIQ_BACKEND_FAILED" | "OMNIQ_OUTCOME_UNKNOWN",
    text: string,
  ) => new OmniQError(kind, text, { cause: plain(error) });
  if (writes && error instanceof Unanswered)
    return make(
      "OMNIQ_OUTCOME_UNKNOWN",
      `The connection to ${what} broke before the answer came; the call may have taken effect. Sent again with the same ids it does nothing twice`,
    );
  if (/\bOOM\b/.test(message))
    return make(
      "OMNIQ_BACKEND_FULL",
      `${what} is full: its maxmemory is reached. Workers can go on and make room; raise maxmemory or remove what is kept`,
    );
  if (refused.test(message))
    return make(
      "OMNIQ_BACKEND_FAILED",
      `${what} refuses the user or a command (${message.split(" ", 1)[0]}); check username, password and rights`,
    );
  if (away.test(message) || network.test(message) || network.test(String(code)) || network.test(name))
    return make(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what} can't be reached or does not serve for now (${reason(message, String(code))}); it is safe to try again`,
    );
  return make(
    "OMNIQ_BACKEND_FAILED",
    `${what} answered with an error: ${message.split(/[\s:]/, 1)[0] ?? "unknown"}; see the cause`,
  );
}

function reason(message: string, code: string): string {
  if (code !== "" && code !== "undefined") return code;
  return away.exec(message)?.[0] ?? "the connection was lost";
}
