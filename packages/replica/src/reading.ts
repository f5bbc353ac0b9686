// Values as they stand in a log or come from a caller: what a rule may rely on is looked at, and copied into a plain object that JSON keeps as it is.

/** Called with the name of what is not as it must be. Whoever checks a caller's values throws; whoever reads a log leaves the item out. */
export type Refuse = (what: string) => undefined;
/** Fields that nobody has looked at. */
export type Loose<T> = { readonly [K in keyof T]?: unknown };

/** No time and no span is further from 0; sums of some of them are finite. */
const furthestMs = Number.MAX_SAFE_INTEGER;
const longestKey = 1_024;

export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
/** An id, a name or a key. */
export function isKey(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= longestKey;
}
export function isText(value: unknown): value is string {
  return typeof value === "string";
}
export function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === "string";
}
/** A time, or a span of time. JSON has no number for one without end. */
export function isTime(value: unknown): value is number {
  return typeof value === "number" && value >= -furthestMs && value <= furthestMs;
}
export function isOptionalTime(value: unknown): value is number | undefined {
  return value === undefined || isTime(value);
}
export function isTimeOrNull(value: unknown): value is number | null {
  return value === null || isTime(value);
}
/** A whole number from `least` on. */
export function isCount(value: unknown, least: number = 0): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** Reads a list item by item; those that can't be read are left out. */
export function readList<T>(
  value: unknown,
  what: string,
  read: (item: unknown, refuse: Refuse) => T | undefined,
  refuse: Refuse,
): T[] | undefined {
  if (!Array.isArray(value)) return refuse(what);
  const items: T[] = [];
  for (const each of value as readonly unknown[]) {
    const item = read(each, refuse);
    if (item !== undefined) items.push(item);
  }
  return items;
}

/** Reads a list of ids. One that is none stands for a task that nobody knows, so that answers keep their places. */
export function readIds(value: unknown, what: string, refuse: Refuse): string[] | undefined {
  if (!Array.isArray(value)) return refuse(what);
  return (value as readonly unknown[]).map((id) => (isText(id) ? id : (refuse(what) ?? "")));
}
