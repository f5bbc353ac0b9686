// Looking at the queue: single tasks, lists, counts. Reads only, without the write lock.
import type { Page, PageRequest, QueueCounts, StoredTask, StoredTaskState, TaskFilter } from "@omniq/core";
import { listKey, readSequencePage, writeCursor } from "./pages.ts";
import type { Sql, SqlValue } from "./sql.ts";
import { edgesOf, toStoredTask, type TaskRow } from "./task-row.ts";

export function getTasks(sql: Sql, ids: readonly string[], now: number): (StoredTask | undefined)[] {
  return ids.map((id) => {
    const row = sql.get<TaskRow>("SELECT * FROM {p}_tasks WHERE id = ?", id);
    return row === undefined ? undefined : show(sql, row, now);
  });
}

function show(sql: Sql, row: TaskRow, now: number): StoredTask {
  return toStoredTask(row, now, row.edges > 0 ? edgesOf(sql, row.seq) : undefined);
}

/** `+seq` keeps SQLite from walking the whole table for states that few tasks are in: they have indexes of their own. */
const conditions: Readonly<Record<StoredTaskState, readonly string[]>> = {
  blocked: ["state = 0 AND +seq > ?"],
  scheduled: ["state = 1 AND run_at > ? AND seq > ?"],
  ready: ["state = 2 AND seq > ?", "state = 3 AND seq > ?", "state = 1 AND run_at <= ? AND seq > ?"],
  active: ["state = 4 AND +seq > ?"],
  failed: ["state = 5 AND +seq > ?"],
  cancelled: ["state = 6 AND unrecorded = 1 AND +seq > ?"],
  expired: ["state = 7 AND unrecorded = 1 AND +seq > ?"],
};

export function listTasks(sql: Sql, filter: TaskFilter, page: PageRequest, now: number): Page<StoredTask> {
  const key = listKey("t", filter);
  const { limit, after } = readSequencePage(key, page);
  const texts =
    filter.states === undefined ? ["seq > ?"] : [...new Set(filter.states)].flatMap((state) => conditions[state]);
  const found: TaskRow[] = [];
  for (const text of texts) {
    const values: SqlValue[] = text.includes("run_at") ? [now, after] : [after];
    let where = text;
    if (filter.queue !== undefined) {
      where += " AND queue = ?";
      values.push(filter.queue);
    }
    if (filter.name !== undefined) {
      where += " AND name = ?";
      values.push(filter.name);
    }
    const order = text.includes("+seq") ? "+seq" : "seq";
    found.push(
      ...sql.all<TaskRow>(`SELECT * FROM {p}_tasks WHERE ${where} ORDER BY ${order} LIMIT ?`, ...values, limit + 1),
    );
  }
  found.sort((one, other) => one.seq - other.seq);
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  const items = rows.map((row) => show(sql, row, now));
  return found.length > limit && last !== undefined ? { items, next: writeCursor(key, String(last.seq)) } : { items };
}

export function countTasks(sql: Sql, queues: readonly string[] | undefined, now: number): Record<string, QueueCounts> {
  const all = queues ?? sql.all<{ name: string }>("SELECT name FROM {p}_queues ORDER BY name").map((row) => row.name);
  const counts: [string, QueueCounts][] = [];
  for (const queue of all) {
    const count = (condition: string, ...values: SqlValue[]): number =>
      sql.get<{ n: number }>(`SELECT count(*) AS n FROM {p}_tasks WHERE ${condition}`, queue, ...values)?.n ?? 0;
    const row = sql.get<{ paused: number; configured: number }>(
      `SELECT paused, max_active IS NOT NULL OR rate_limit IS NOT NULL OR dead_ttl IS NOT NULL AS configured FROM {p}_queues WHERE name = ?`,
      queue,
    );
    const counted: QueueCounts = {
      blocked: count("state = 0 AND queue = ?"),
      scheduled: count("state = 1 AND queue = ? AND run_at > ?", now),
      ready:
        count("state = 2 AND queue = ?") +
        count("state = 3 AND queue = ?") +
        count("state = 1 AND queue = ? AND run_at <= ?", now),
      active: count("state = 4 AND queue = ?"),
      failed: count("state = 5 AND queue = ?"),
      unrecorded: count("unrecorded = 1 AND queue = ?"),
      paused: row?.paused === 1,
    };
    const { paused, ...numbers } = counted;
    const used = paused || row?.configured === 1 || Object.values(numbers).some((n) => n > 0);
    if (queues !== undefined || used) counts.push([queue, counted]);
  }
  return Object.fromEntries(counts);
}
