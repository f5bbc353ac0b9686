// The mill's tables: results, timing, and the events of the slowest task.
import Table from "cli-table3";
import type { TaskEvent } from "@omniq/core";
import type { Measurement } from "./measure.ts";
import type { Summary } from "./tasks.ts";

const number = new Intl.NumberFormat("en-US");
const format = (value: number): string => number.format(value);

/** No colours, and no line between rows. */
const plain = { style: { head: [], border: [] }, chars: { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" } };

/** How wide the tables may be, in characters: the terminal's width, within reason. */
const width = (): number => Math.min(Math.max(process.stdout.columns ?? 120, 80), 160);

/** A path cut at its beginning, as its end tells files apart. */
const fitPath = (path: string, room: number): string => (path.length <= room ? path : `…${path.slice(1 - room)}`);
const fitText = (text: string, room: number): string =>
  text.length <= room ? text : `${text.slice(0, room - 1).trimEnd()}…`;

/** The largest files, then the sum of all. */
export function resultsTable(measurements: readonly Measurement[], summary: Summary, rows: number): string {
  // The other columns take up to 70 characters with millions of bytes, and 66 with a shorter digest.
  const narrow = width() < 100;
  const room = width() - (narrow ? 66 : 70);
  const table = new Table({
    head: ["file", "bytes", "lines", "words", "links", "gzip", "SHA-256"],
    colAligns: ["left", "right", "right", "right", "right", "right", "left"],
    ...plain,
  });
  const largest = [...measurements].sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1)).slice(0, rows);
  for (const one of largest) {
    table.push([
      fitPath(one.path, room),
      format(one.bytes),
      format(one.lines),
      format(one.words),
      format(one.links),
      one.gzipRatio.toFixed(2),
      one.sha256.slice(0, narrow ? 8 : 12),
    ]);
  }
  if (measurements.length > largest.length)
    table.push([`… ${measurements.length - largest.length} more`, "", "", "", "", "", ""]);
  table.push([
    `${format(summary.files)} files`,
    format(summary.bytes),
    format(summary.lines),
    format(summary.words),
    format(summary.links),
    "",
    `${format(summary.distinct)} distinct`,
  ]);
  return table.toString();
}

/** Name and value, a line each. */
export function factsTable(facts: readonly (readonly [string, string])[]): string {
  const table = new Table({ ...plain, colAligns: ["left", "right"] });
  for (const [name, value] of facts) table.push([name, value]);
  return table.toString();
}

/** The events of one task, with times counted from the first. */
export function eventsTable(events: readonly TaskEvent[]): string {
  const table = new Table({
    head: ["after", "event", "attempt", "says"],
    colAligns: ["right", "left", "right", "left"],
    ...plain,
  });
  const first = events[0]?.at ?? 0;
  const room = width() - 40;
  for (const event of events)
    table.push([`${event.at - first} ms`, event.type, String(event.attempt), fitText(says(event), room)]);
  return table.toString();
}

function says(event: TaskEvent): string {
  switch (event.type) {
    case "retrying":
    case "failed":
      // The message begins with the task, which stands above the table; what the handler said follows.
      return event.error.message.replace(/^The task .*? failed: /, "");
    case "progress":
      return `${Math.round(event.fraction * 100)} % ${event.message ?? ""}`.trim();
    case "log":
      return event.message;
    default:
      return "";
  }
}
