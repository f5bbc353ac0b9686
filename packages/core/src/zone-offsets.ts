// When a time zone's clocks are changed: offsets from UTC at an instant, and the instants at which they change.

/** One change of a zone's clocks. */
export interface ClockChange {
  /** The first instant at which the new offset holds. */
  readonly at: number;
  /** Milliseconds to add to UTC for the local time. */
  readonly before: number;
  readonly after: number;
}

const dayMs = 86_400_000;
/** Changes of one zone are looked for in steps of so long; no zone changes its clocks twice in one. */
const stepMs = 7 * dayMs;

interface Zone {
  readonly format: Intl.DateTimeFormat;
  /** What is known: all changes from `from` to `to`. */
  readonly changes: ClockChange[];
  from: number;
  to: number;
}

const zones = new Map<string, Zone>();

/** Throws a `RangeError` for a name that is no IANA zone. */
function zoneOf(name: string): Zone {
  let zone = zones.get(name);
  if (zone === undefined) {
    const format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
      era: "short",
    });
    zone = { format, changes: [], from: 0, to: 0 };
    if (zones.size >= 1_000) zones.clear();
    zones.set(name, zone);
  }
  return zone;
}

function readOffset(zone: Zone, instant: number): number {
  const second = Math.floor(instant / 1_000) * 1_000;
  const parts: Record<string, string> = {};
  for (const { type, value } of zone.format.formatToParts(second)) parts[type] = value;
  const year = parts["era"] === "BC" ? 1 - Number(parts["year"]) : Number(parts["year"]);
  const local = new Date(0);
  local.setUTCFullYear(year, Number(parts["month"]) - 1, Number(parts["day"]));
  local.setUTCHours(Number(parts["hour"]), Number(parts["minute"]), Number(parts["second"]));
  return local.getTime() - second;
}

/** The change between two instants that are one step apart, by halves. */
function findChange(zone: Zone, low: number, high: number, before: number, after: number): ClockChange {
  let [left, right] = [low, high];
  while (right - left > 1_000) {
    const middle = Math.floor((left + right) / 2_000) * 1_000;
    if (readOffset(zone, middle) === before) left = middle;
    else right = middle;
  }
  return { at: right, before, after };
}

function scan(zone: Zone, from: number, to: number): ClockChange[] {
  const found: ClockChange[] = [];
  let before = readOffset(zone, from);
  for (let at = from; at < to; at += stepMs) {
    const after = readOffset(zone, at + stepMs);
    if (after !== before) found.push(findChange(zone, at, at + stepMs, before, after));
    before = after;
  }
  return found;
}

/** Makes sure that the changes from one instant to another are known. */
function cover(zone: Zone, from: number, to: number): void {
  const first = Math.floor(from / stepMs) * stepMs;
  const last = Math.ceil(to / stepMs) * stepMs;
  // What is far from what is known starts it anew: to close a gap of decades would cost more than it saves.
  if (zone.from === zone.to || first > zone.to + 400 * dayMs || last < zone.from - 400 * dayMs) {
    zone.changes.length = 0;
    zone.from = first;
    zone.to = first;
  }
  if (first < zone.from) {
    zone.changes.unshift(...scan(zone, first, zone.from));
    zone.from = first;
  }
  if (last > zone.to) {
    zone.changes.push(...scan(zone, zone.to, last));
    zone.to = last;
  }
}

/** The offset at an instant: what to add to UTC for the local time. */
export function offsetAt(name: string, instant: number): number {
  const zone = zoneOf(name);
  cover(zone, instant, instant + 1);
  const later = zone.changes.find((change) => change.at > instant);
  if (later !== undefined) return later.before;
  return zone.changes.at(-1)?.after ?? readOffset(zone, instant);
}

/** The changes after one instant, up to and with another. */
export function changesBetween(name: string, after: number, until: number): readonly ClockChange[] {
  const zone = zoneOf(name);
  cover(zone, after, until + 1);
  return zone.changes.filter((change) => change.at > after && change.at <= until);
}
