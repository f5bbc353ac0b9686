// What a column may hold. SQLite is dynamically typed, and files are damaged or edited: what is read is checked before it is used.

export interface Column {
  readonly name: string;
  readonly nullable: boolean;
  /** `undefined`: a number. Otherwise any text, or one of these. */
  readonly texts: "any" | readonly string[] | undefined;
  readonly least: number;
  readonly most: number;
}

/** Times are sums of what the calendar and core's options allow; nothing that is larger was written by OmniQ. */
const mostTime = 2e16;

export function text(name: string, nullable: "nullable" | undefined = undefined): Column {
  return { name, nullable: nullable !== undefined, texts: "any", least: 0, most: 0 };
}

export function oneOf(name: string, texts: readonly string[]): Column {
  return { name, nullable: false, texts, least: 0, most: 0 };
}

/** A whole number from `least` to `most`. */
export function whole(name: string, least: number, most: number = Number.MAX_SAFE_INTEGER): Column {
  return { name, nullable: false, texts: undefined, least, most };
}

export function time(name: string): Column {
  return whole(name, -mostTime, mostTime);
}

export function nullable(column: Column): Column {
  return { ...column, nullable: true };
}

/** Whether a column holds what it may. */
export function holds(column: Column, value: unknown): boolean {
  if (value === null) return column.nullable;
  if (column.texts === undefined)
    return typeof value === "number" && value >= column.least && value <= column.most && Number.isInteger(value);
  return typeof value === "string" && (column.texts === "any" || column.texts.includes(value));
}

/** Whether all columns of a row, an object, hold what they may. */
export function isSound(columns: readonly Column[], row: object): boolean {
  return columns.every((column) => holds(column, (row as Readonly<Record<string, unknown>>)[column.name]));
}

/** {@link holds} as a condition of SQL, true or false, never NULL. */
export function soundCondition(column: Column): string {
  const { name } = column;
  const allowed =
    column.texts === undefined
      ? `typeof(${name}) = 'integer' AND ${name} BETWEEN ${column.least} AND ${column.most}`
      : column.texts === "any"
        ? `typeof(${name}) = 'text'`
        : `typeof(${name}) = 'text' AND ${name} IN (${column.texts.map((one) => `'${one}'`).join(", ")})`;
  return column.nullable ? `(${name} IS NULL OR (${allowed}))` : `(${allowed})`;
}

/** {@link isSound} as a condition of SQL. */
export function soundRow(columns: readonly Column[]): string {
  return columns.map(soundCondition).join(" AND ");
}
