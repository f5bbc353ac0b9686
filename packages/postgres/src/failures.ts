// Turns what `pg` and PostgreSQL report into OmniQ's errors. Messages name the server, never what is stored in it.
import { isOmniQError, OmniQError } from "@omniq/core";

/** SQLSTATE of a server's error; empty for others. https://www.postgresql.org/docs/current/errcodes-appendix.html */
export function sqlState(error: unknown): string {
  const { code, severity } = (error ?? {}) as { code?: unknown; severity?: unknown };
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && severity !== undefined ? code : "";
}

/** The transaction lost against another one and was undone whole: running it again is right. */
export function isConflict(error: unknown): boolean {
  const code = sqlState(error);
  return code === "40001" || code === "40P01" || code === "55P03";
}

/** Statements that fail for what is stored: numbers out of range, division by zero, or text that is no JSON. What a call gives is checked before. */
export function isDamage(error: unknown): boolean {
  return /^(22003|22008|22012|2200F|22P02|22030|2201[0-9A-Z])$/.test(sqlState(error));
}

/** The connection had ended before the statement was sent. */
export function isUnsent(error: unknown): boolean {
  return sqlState(error) === "" && /not queryable/.test(messageOf(error));
}

function messageOf(error: unknown): string {
  const { message } = (error ?? {}) as { message?: unknown };
  return typeof message === "string" ? message : "";
}

function codeOf(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" ? code : "";
}

const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|ENOENT|EADDR|ERR_SOCKET|ERR_STREAM)/;
/** Trying again changes nothing about a certificate, or about a server without TLS. */
const tlsCodes =
  /^(ERR_TLS|ERR_SSL|CERT_|CRL_|DEPTH_|SELF_SIGNED|UNABLE_TO|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|HOSTNAME_MISMATCH|ERROR_IN_)/;
/** Connections that end, servers that start or stop, that have no connection left or became a standby, transactions that took too long. */
const awayStates = /^(08|57P0[1-5]|53300|25006|25P0[34])/;
/** What of these was told before the statement did anything. */
const neverBegan = /^(08001|08004|53300|57P03|25006)/;

function isTls(error: unknown): boolean {
  return tlsCodes.test(codeOf(error)) || /does not support SSL|certificate/i.test(messageOf(error));
}

/** The server could not be reached or went away; whether the call took effect is not known. */
export function isAway(error: unknown): boolean {
  const code = sqlState(error);
  if (code !== "") return awayStates.test(code);
  if (isTls(error)) return false;
  if (networkCodes.test(codeOf(error))) return true;
  return /terminat|timeout|timed out|connection|not queryable|client was closed/i.test(messageOf(error));
}

/**
 * What is said of an error to whoever looks for the cause: not the error itself, which may carry the client with its password, or a row as
 * "detail".
 */
function causeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  const cause = new Error(error.message);
  cause.name = error.name;
  if (error.stack !== undefined) cause.stack = error.stack;
  for (const key of ["code", "severity", "hint", "routine", "errno", "syscall", "address", "port"] as const) {
    const value = (error as { readonly [K in typeof key]?: unknown })[key];
    if (typeof value === "string" || typeof value === "number") Object.assign(cause, { [key]: value });
  }
  return cause;
}

/** The error that callers see. `what` names the server. `matters`: the call was sent, and whether it took effect matters. */
export function failure(error: unknown, what: string, schema: string, matters: boolean): unknown {
  if (isOmniQError(error)) return error;
  const made = (
    kind:
      | "OMNIQ_BACKEND_UNAVAILABLE"
      | "OMNIQ_BACKEND_FULL"
      | "OMNIQ_BACKEND_FAILED"
      | "OMNIQ_OUTCOME_UNKNOWN"
      | "OMNIQ_SERIALIZATION_FAILED",
    text: string,
  ): OmniQError => new OmniQError(kind, text, { cause: causeOf(error) });
  const code = sqlState(error);
  if (isAway(error) && matters && !isUnsent(error) && !neverBegan.test(code))
    return made(
      "OMNIQ_OUTCOME_UNKNOWN",
      `${what} ended the connection or did not answer; the call may have taken effect; try again under the same ids`,
    );
  if (isAway(error))
    return made("OMNIQ_BACKEND_UNAVAILABLE", `${what} can't be reached or ended the connection; try again`);
  if (isConflict(error))
    return made(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what} undid the call several times in favour of others (${code}); try again`,
    );
  if (code === "57014")
    return made(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what} cancelled the call (${code}: statement_timeout, or somebody did) and undid it; try again`,
    );
  if (isTls(error))
    return made(
      "OMNIQ_BACKEND_FAILED",
      `No secure connection to ${what}: ${codeOf(error) || messageOf(error)}; check the certificate and the option tls`,
    );
  if (code === "22021" || code === "22P05")
    return made("OMNIQ_SERIALIZATION_FAILED", `${what} stores no text with the character NUL (${code})`);
  if (
    code === "53200" &&
    /max_locks_per_transaction/.test(`${messageOf(error)} ${String((error as { hint?: unknown }).hint)}`)
  )
    return made("OMNIQ_BACKEND_FULL", `${what} has no room for locks left (${code}); raise max_locks_per_transaction`);
  if (code === "53100") return made("OMNIQ_BACKEND_FULL", `${what} has no room on its disk left; make room`);
  if (code === "53200") return made("OMNIQ_BACKEND_FULL", `${what} has no memory left (${code}); send less at once`);
  if (code.startsWith("28"))
    return made("OMNIQ_BACKEND_FAILED", `${what} refused the login (${code}); check the user and the password`);
  if (code === "3D000") return made("OMNIQ_BACKEND_FAILED", `${what} has no such database (${code}); create it first`);
  if (code === "42501")
    return made(
      "OMNIQ_BACKEND_FAILED",
      `${what} refused for lack of rights in the schema "${schema}" (${code}); grant them, or run migrate() as its owner`,
    );
  if (code === "42P01" || code === "42883" || code === "3F000")
    return made(
      "OMNIQ_BACKEND_FAILED",
      `${what} lacks tables or functions in the schema "${schema}" (${code}); make a new backend, or run migrate()`,
    );
  if (code !== "") return made("OMNIQ_BACKEND_FAILED", `${what} answered with the error ${code}`);
  return made(
    "OMNIQ_BACKEND_FAILED",
    `A call to ${what} failed: ${error instanceof Error ? error.name : typeof error}; see the cause`,
  );
}
