// Cursors of pages: opaque text that says which list it belongs to and where to go on.
import { createHash } from "node:crypto";
import { OmniQError, type PageRequest } from "@omniq/core";

const defaultLimit = 100;
const maxLimit = 1_000;

/** What a list is known by: its kind and its filter. */
export function listKey(kind: string, filter: object): string {
  const entries = Object.entries(filter)
    .filter(([, value]) => value !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1));
  return `${kind}${createHash("sha256").update(JSON.stringify(entries)).digest("base64url").slice(0, 8)}`;
}

/** Checks a page request. Gives the position, `undefined` at the beginning. Throws `OMNIQ_INVALID_OPTION`. */
export function readPage(
  key: string,
  page: PageRequest,
): { readonly limit: number; readonly after: string | undefined } {
  const limit = page.limit ?? defaultLimit;
  if (!Number.isSafeInteger(limit) || limit < 1 || limit > maxLimit) {
    throw new OmniQError("OMNIQ_INVALID_OPTION", `A page's limit must be a whole number from 1 to ${maxLimit}`);
  }
  if (page.cursor === undefined) return { limit, after: undefined };
  const [of, position, ...rest] = typeof page.cursor === "string" ? page.cursor.split(".") : [];
  if (of !== key || position === undefined || rest.length > 0) {
    throw new OmniQError(
      "OMNIQ_INVALID_OPTION",
      "The cursor is not one of this list: give a page's `next`, with the same filter",
    );
  }
  return { limit, after: Buffer.from(position, "base64url").toString() };
}

export function readSequencePage(key: string, page: PageRequest): { readonly limit: number; readonly after: number } {
  const { limit, after } = readPage(key, page);
  const seq = after === undefined ? 0 : Number(after);
  if (!Number.isSafeInteger(seq) || seq < 0)
    throw new OmniQError("OMNIQ_INVALID_OPTION", "The cursor is damaged: give a page's `next` as it was");
  return { limit, after: seq };
}

export function writeCursor(key: string, position: string): string {
  return `${key}.${Buffer.from(position).toString("base64url")}`;
}
