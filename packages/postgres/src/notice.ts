// What a notification says: from whom, and what may be there now. Anybody with a connection may send one; it only wakes.

/** What a commit changed: queues whose tasks may be ready, tasks whose results were stored, active tasks to be cancelled, events. */
export interface Change {
  readonly tasks?: Iterable<string> | undefined;
  readonly results?: Iterable<string> | undefined;
  readonly cancels?: Iterable<string> | undefined;
  readonly events?: boolean | undefined;
}

/** Names, or `true` for all. */
export type Names = ReadonlySet<string> | true;

export interface Heard {
  readonly from: string;
  readonly tasks: Names;
  readonly results: Names;
  readonly cancels: Names;
  readonly events: boolean;
}

/** PostgreSQL takes less than 8,000 bytes. */
const maxNoticeBytes = 7_000;
const maxNames = 100;

/** The text of a notification. Without a sender all take it, this process too: that of a user's transaction. */
export function encodeNotice(from: string, { tasks = [], results = [], cancels = [], events = false }: Change): string {
  const notice: Record<string, unknown> = { f: from };
  for (const [key, names] of [
    ["t", [...tasks]],
    ["r", [...results]],
    ["c", [...cancels]],
  ] as const) {
    if (names.length > 0) notice[key] = names.length > maxNames ? true : names;
  }
  if (events) notice["e"] = true;
  let text = JSON.stringify(notice);
  if (Buffer.byteLength(text) > maxNoticeBytes) {
    for (const key of ["t", "r", "c"]) if (notice[key] !== undefined) notice[key] = true;
    text = JSON.stringify(notice);
  }
  return text;
}

/** Reads a notification, whatever it is. `undefined` for what no backend has sent. */
export function decodeNotice(payload: string): Heard | undefined {
  let notice: unknown;
  try {
    notice = JSON.parse(payload);
  } catch {
    return undefined;
  }
  if (typeof notice !== "object" || notice === null) return undefined;
  const { f, t, r, c, e } = notice as Readonly<Record<string, unknown>>;
  if (typeof f !== "string") return undefined;
  return { from: f, tasks: namesOf(t), results: namesOf(r), cancels: namesOf(c), events: e === true };
}

function namesOf(value: unknown): Names {
  if (value === true) return true;
  return new Set(Array.isArray(value) ? value.filter((name): name is string => typeof name === "string") : []);
}
