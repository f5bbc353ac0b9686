// Turns what SQLite throws into OmniQ's errors. Messages name the file, never what is stored in it.
import { isOmniQError, OmniQError } from "@omniq/core";

/** SQLite's own name of the error, such as `SQLITE_BUSY`; empty for others. */
export function sqliteCode(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : "";
}

/** Another connection has the lock: trying again later helps. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCode(error);
  return code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED");
}

export function isFull(error: unknown): boolean {
  return sqliteCode(error) === "SQLITE_FULL";
}

/** The file could not be written to when it was opened, or can't be now. */
export function isReadOnly(error: unknown): boolean {
  return sqliteCode(error).startsWith("SQLITE_READONLY");
}

/**
 * A commit of which it is not known whether it will stand: its last pages may be in the log and not be safe, so that they count after a crash
 * if nobody has written over them. Every other error of a commit means that nothing was stored.
 */
export function unknownOutcome(error: unknown, what: string): OmniQError | undefined {
  const code = sqliteCode(error);
  if (!code.startsWith("SQLITE_IOERR")) return undefined;
  return new OmniQError(
    "OMNIQ_OUTCOME_UNKNOWN",
    `${what} answered a commit with the error ${code}: whether it was stored is not known; look at its disk`,
    { cause: error },
  );
}

/** The store itself failed, not one call's data: every call of the same transaction fails with it. */
export function isStoreFailure(error: unknown): boolean {
  return /^SQLITE_(BUSY|LOCKED|FULL|IOERR|CORRUPT|NOTADB|CANTOPEN|READONLY|NOMEM|PERM|PROTOCOL|AUTH|INTERRUPT)/.test(
    sqliteCode(error),
  );
}

/** The error that callers see. `what` names the database. */
export function failure(error: unknown, what: string): unknown {
  if (isOmniQError(error)) return error;
  const code = sqliteCode(error);
  const made = (
    kind: "OMNIQ_BACKEND_UNAVAILABLE" | "OMNIQ_BACKEND_FULL" | "OMNIQ_BACKEND_FAILED",
    text: string,
    retryable?: boolean,
  ): OmniQError => new OmniQError(kind, text, { cause: error, retryable });
  if (isBusy(error))
    return made(
      "OMNIQ_BACKEND_UNAVAILABLE",
      `${what} was locked by another connection for too long; try again, and look for a long write transaction`,
    );
  if (isFull(error))
    return made("OMNIQ_BACKEND_FULL", `${what} can't grow: its disk is full or its page limit is reached; make room`);
  if (code === "SQLITE_NOTADB")
    return made("OMNIQ_BACKEND_FAILED", `${what} is not an SQLite database; give another path`);
  if (code.startsWith("SQLITE_CORRUPT"))
    return made("OMNIQ_BACKEND_FAILED", `${what} is damaged; restore it from a backup`);
  if (code.startsWith("SQLITE_READONLY"))
    return made(
      "OMNIQ_BACKEND_FAILED",
      `${what} can't be written to; check the rights of the file and its folder, and whether its file system is read-only`,
      true,
    );
  if (code.startsWith("SQLITE_IOERR"))
    return made(
      "OMNIQ_BACKEND_FAILED",
      `The disk of ${what} answered with the error ${code}; nothing was stored`,
      true,
    );
  if (code.startsWith("SQLITE_CANTOPEN") || code === "SQLITE_PERM") {
    return made(
      "OMNIQ_BACKEND_FAILED",
      `${what} can't be opened (${code}); check that the path is a file and that its folder can be written to`,
    );
  }
  if (code !== "") return made("OMNIQ_BACKEND_FAILED", `${what} answered with the error ${code}`);
  return made(
    "OMNIQ_BACKEND_FAILED",
    `A call to ${what} failed: ${error instanceof Error ? error.name : typeof error}; see the cause`,
  );
}
