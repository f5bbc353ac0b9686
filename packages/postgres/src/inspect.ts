// Looking at the queue: single tasks, lists, counts. Reads only.
import {
  OmniQError,
  type Page,
  type PageRequest,
  type QueueCounts,
  type StoredTask,
  type StoredTaskState,
  type TaskFilter,
} from "@omniq/core";
import { Columns } from "./columns.ts";
import type { Connection, Row } from "./connection.ts";
import { listKey, readSequencePage, writeCursor } from "./pages.ts";
import { covered, coveringLease, seqColumn, taskColumns, toStoredTask } from "./task-rows.ts";

const now = "(SELECT {s}.now_ms() AS now) n";

export async function getTasks(connection: Connection, ids: readonly string[]): Promise<(StoredTask | undefined)[]> {
  const { list, values } = new Columns().text(ids).build();
  const rows = await connection.look(
    `SELECT ${taskColumns} FROM ${now} CROSS JOIN {s}.tasks t ${coveringLease} WHERE t.id = ANY (${list})`,
    values,
  );
  const found = new Map(rows.map((row) => [row[0] as string, row]));
  return ids.map((id) => {
    const row = found.get(id);
    return row === undefined ? undefined : toStoredTask(row);
  });
}

/** States that few tasks are in have indexes of their own; the others are walked in enqueue order. */
const conditions: Readonly<Record<StoredTaskState, string>> = {
  blocked: "t.state = 0",
  scheduled: "t.state = 1 AND t.run_at > n.now",
  ready: `(t.state IN (2, 3) AND NOT ${covered} OR t.state = 1 AND t.run_at <= n.now)`,
  active: `(t.state = 4 OR ${covered})`,
  failed: "(t.state IN (5, 8) OR t.state < 0 OR t.state > 8)",
  cancelled: "t.state = 6",
  expired: "t.state = 7",
};

export async function listTasks(
  connection: Connection,
  filter: TaskFilter,
  page: PageRequest,
): Promise<Page<StoredTask>> {
  const key = listKey("t", filter);
  const { limit, after } = readSequencePage(key, page);
  const values: unknown[] = [after, limit + 1];
  let where = "t.seq > $1";
  if (filter.queue !== undefined) where += ` AND t.queue = $${values.push(filter.queue)}`;
  if (filter.name !== undefined) where += ` AND t.name = $${values.push(filter.name)}`;
  if (filter.states !== undefined) {
    const any = [...new Set(filter.states)].map((state) =>
      Object.hasOwn(conditions, state) ? conditions[state] : "false",
    );
    where += ` AND (${any.length === 0 ? "false" : any.join(" OR ")})`;
  }
  const rows = await connection.look(
    `SELECT ${taskColumns} FROM ${now} CROSS JOIN
       (SELECT t.* FROM ${now}, {s}.tasks t WHERE ${where} ORDER BY t.seq LIMIT $2) t ${coveringLease} ORDER BY t.seq`,
    values,
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const shown = items.map(toStoredTask);
  return rows.length > limit && last !== undefined
    ? { items: shown, next: writeCursor(key, String(last[seqColumn])) }
    : { items: shown };
}

const countText = (where: string): string => `WITH n AS MATERIALIZED (SELECT {s}.now_ms() AS now), counted AS (
    SELECT t.queue, count(*) FILTER (WHERE t.state = 0) AS blocked, count(*) FILTER (WHERE t.state = 1 AND t.run_at > n.now) AS scheduled,
      count(*) FILTER (WHERE ${conditions.ready}) AS ready, count(*) FILTER (WHERE ${conditions.active}) AS active,
      count(*) FILTER (WHERE ${conditions.failed}) AS failed, count(*) FILTER (WHERE t.unrecorded AND t.state BETWEEN 5 AND 7) AS unrecorded
    FROM n, {s}.tasks t ${where === "" ? "" : `WHERE t.queue = ANY (${where})`} GROUP BY t.queue)
  SELECT coalesce(c.queue, q.name), coalesce(c.blocked, 0), coalesce(c.scheduled, 0), coalesce(c.ready, 0), coalesce(c.active, 0),
    coalesce(c.failed, 0), coalesce(c.unrecorded, 0), coalesce(q.paused, false)
  FROM counted c FULL JOIN {s}.queues q ON q.name = c.queue
  WHERE (c.queue IS NOT NULL OR q.paused OR q.max_active IS NOT NULL OR q.rate_limit IS NOT NULL OR q.dead_ttl IS NOT NULL)
    ${where === "" ? "" : `AND coalesce(c.queue, q.name) = ANY (${where})`} ORDER BY 1`;

export async function countTasks(
  connection: Connection,
  queues: readonly string[] | undefined,
): Promise<Record<string, QueueCounts>> {
  const { list, values } = new Columns().text(queues ?? []).build();
  const rows =
    queues === undefined ? await connection.look(countText("")) : await connection.look(countText(list), values);
  const found = new Map(rows.map((row) => [row[0] as string, toCounts(row)]));
  const names = queues ?? [...found.keys()];
  return Object.fromEntries(names.map((name) => [name, found.get(name) ?? toCounts([name, 0, 0, 0, 0, 0, 0, false])]));
}

function toCounts(row: Row): QueueCounts {
  return {
    blocked: row[1],
    scheduled: row[2],
    ready: row[3],
    active: row[4],
    failed: row[5],
    unrecorded: row[6],
    paused: row[7],
  };
}

const purgeable: readonly StoredTaskState[] = ["blocked", "scheduled", "ready", "failed"];

/** Throws `OMNIQ_INVALID_OPTION` for states that can't be purged. */
export function checkPurgeable(states: readonly StoredTaskState[]): void {
  const wrong = states.find((state) => !purgeable.includes(state));
  if (wrong === undefined) return;
  throw new OmniQError(
    "OMNIQ_INVALID_OPTION",
    `Tasks in the state "${wrong}" can't be purged; blocked, scheduled, ready and failed can`,
  );
}
