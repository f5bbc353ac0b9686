// Pages: how cursors are written and read, and how a page is cut from a sequence.
import { createHash } from "node:crypto";
import { checkInteger, OmniQError } from "@omniq/core";
import type { Page, PageRequest } from "@omniq/core";

/** Checks `limit`; 100 when nothing is said. */
export function pageLimit(page: PageRequest): number {
  if (page.limit === undefined) return 100;
  checkInteger("The limit of a page", page.limit, 1, 1_000);
  return page.limit;
}

/** Checks that a filter asks for what there is. Anything else is `OMNIQ_INVALID_OPTION`. */
export function checkKnown(what: string, asked: readonly unknown[] | undefined, known: ReadonlySet<unknown>): void {
  const at = asked?.findIndex((each) => !known.has(each)) ?? -1;
  if (at < 0) return;
  const unknown = asked?.[at];
  const named = typeof unknown === "string" ? JSON.stringify(unknown.slice(0, 100)) : `of type ${typeof unknown}`;
  throw new OmniQError("OMNIQ_INVALID_OPTION", `There is no ${what} ${named}; there are ${[...known].join(", ")}`);
}

/** What the cursors of a list begin with: its kind and a digest of its filter, so that no cursor fits another list. */
export function listKey(kind: string, filter: object): string {
  const entries = Object.entries(filter)
    .filter(([, value]) => value !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1));
  return `${kind}${createHash("sha256").update(JSON.stringify(entries)).digest("base64url").slice(0, 8)}.`;
}

/** The number in a cursor of the list with this key; 0 without a cursor. A cursor of another list is `OMNIQ_INVALID_OPTION`. */
export function readCursor(key: string, cursor: string | undefined): number {
  if (cursor === undefined) return 0;
  const digits = typeof cursor === "string" && cursor.startsWith(key) ? cursor.slice(key.length) : "";
  const sequence = Number(digits);
  if (!/^\d{1,16}$/.test(digits) || !Number.isSafeInteger(sequence)) throw foreignCursor();
  return sequence;
}
export function foreignCursor(): OmniQError {
  return new OmniQError(
    "OMNIQ_INVALID_OPTION",
    "The cursor does not belong to this list; pass what `next` of the same list, with the same filter, gave",
  );
}

/** The first `limit` that pass, and a cursor when more may follow. */
export function cutPage<T, R>(
  items: Iterable<T>,
  limit: number,
  wanted: (item: T) => boolean,
  show: (item: T) => R,
  cursorOf: (item: T) => string,
): Page<R> {
  const shown: R[] = [];
  let last: T | undefined;
  for (const item of items) {
    if (!wanted(item)) continue;
    if (shown.length === limit) return { items: shown, next: cursorOf(last as T) };
    shown.push(show(item));
    last = item;
  }
  return { items: shown };
}
