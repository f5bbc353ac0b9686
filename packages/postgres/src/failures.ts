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

const networkCodes =
  /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_|ENOENT|EADDR|ERR_SOCKET|ERR_STREAM|ERR_TLS|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO)/;
/** Connections that end, servers that start or stop, that have no connection left or became a standby. */
const awayStates = /^(08|57P0[1-5]|53300|25006)/;

/** The server could not be reached or went away; whether the call took effect is not known. */
export function isAway(error: unknown): boolean {
  const code = sqlState(error);
  if (code !== "") return awayStates.test(code);
  const { code: own, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (typeof own === "string" && networkCodes.test(own)) return true;
  return (
    typeof message === "string" &&
    /terminat|timeout|timed out|connection|not queryable|client was closed/i.test(message)
  );
}

/** The error that callers see. `what` names the server. */
export function failure(error: unknown, what: string, schema: string): unknown {
  if (isOmniQError(error)) return error;
  const made = (
    kind: "OMNIQ_BACKEND_UNAVAILABLE" | "OMNIQ_BACKEND_FULL" | "OMNIQ_BACKEND_FAILED",
    text: string,
  ): OmniQError => new OmniQError(kind, text, { cause: error });
  const code = sqlState(error);
  if (isAway(error))
    return made("OMNIQ_BACKEND_UNAVAILABLE", `${what} can't be reached or ended the connection; try again`);
  if (isConflict(error))
    return made(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what} undid the call several times in favour of others (${code}); try again`,
    );
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
