// A slow walk over all tasks, a few at each sweep: finds what can't be read where no other verb would come by, and counts that went astray.
import { isSound, soundRow, whole } from "./columns.ts";
import { setAside } from "./damage.ts";
import { refill, repairGroup } from "./groups.ts";
import { closeEdge, failDependent, unblock } from "./outcomes.ts";
import { isSoundResult, resultColumns, type ResultRow } from "./result-rows.ts";
import { blocked, edgesOf, held, isSoundEdge, slimColumns, taskColumns, type SlimRow } from "./task-row.ts";
import type { Sql, Transacting } from "./sql.ts";

const tasksAStep = 500;
const groupsAStep = 100;

/** Where the walk is; one for each process. */
export interface ScanPosition {
  task: number;
  queue: string;
  key: string;
}

export function newScan(): ScanPosition {
  return { task: 0, queue: "", key: "" };
}

const tasksText = `SELECT seq, state, queue, group_key, ${soundRow(taskColumns)} AS sound FROM {p}_tasks WHERE seq > ? ORDER BY seq LIMIT ?`;

/** One step. Says how much it changed. */
export function scan(tx: Transacting, position: ScanPosition): number {
  let changed = renumber(tx.sql, (seq) => setAside(tx, seq)) ? 1 : 0;
  const rows = tx.sql.all<{ seq: number; state: number; queue: string; group_key: string; sound: number }>(
    tasksText,
    position.task,
    tasksAStep,
  );
  const groups = new Map<string, readonly [queue: string, key: string]>();
  const queues = new Set<string>();
  for (const { seq, state, queue, group_key: key, sound } of rows) {
    if (typeof queue === "string") queues.add(queue);
    if (sound !== 1) changed += setAside(tx, seq) ? 1 : 0;
    else if (state === blocked) changed += repairBlocked(tx, seq);
    else if (state === held && typeof key === "string") groups.set(JSON.stringify([queue, key]), [queue, key]);
  }
  for (const queue of queues) tx.sql.run("INSERT OR IGNORE INTO {p}_queues (name) VALUES (?)", queue);
  for (const [queue, key] of groups.values()) refill(tx, queue, key);
  position.task = rows.length < tasksAStep ? 0 : (rows.at(-1)?.seq ?? 0);
  scanGroups(tx, position);
  return changed;
}

function scanGroups(tx: Transacting, position: ScanPosition): void {
  const groups = tx.sql.all<{ queue: string; key: string; slots: number }>(
    "SELECT queue, key, slots FROM {p}_groups WHERE (queue, key) > (?, ?) ORDER BY queue, key LIMIT ?",
    position.queue,
    position.key,
    groupsAStep,
  );
  let last: { readonly queue: string; readonly key: string } | undefined;
  for (const group of groups) {
    if (typeof group.queue !== "string" || typeof group.key !== "string") continue;
    repairGroup(tx, group.queue, group.key, group.slots);
    last = group;
  }
  position.queue = groups.length < groupsAStep ? "" : (last?.queue ?? "");
  position.key = groups.length < groupsAStep ? "" : (last?.key ?? "");
}

/** A blocked task waits for what is there; what is gone has left its result, or nobody will ever tell it. */
function repairBlocked(tx: Transacting, seq: number): number {
  const { sql } = tx;
  const row = sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE seq = ? AND state = 0`, seq);
  if (row === undefined) return 0;
  const edges = edgesOf(sql, seq);
  if (edges.length !== row.edges || !edges.every(isSoundEdge)) return setAside(tx, seq) ? 1 : 0;
  let open = 0;
  for (const { status, position, parent_id: id } of edges) {
    if (status !== null) continue;
    open++;
    const parent = sql.get<{ seq: number; dependents: number; over: number }>(
      "SELECT seq, dependents, state = 5 AND unrecorded = 0 AS over FROM {p}_tasks WHERE id = ?",
      id,
    );
    if (parent?.over === 0) {
      if (parent.dependents !== 1) sql.run("UPDATE {p}_tasks SET dependents = 1 WHERE seq = ?", parent.seq);
      continue;
    }
    const result = sql.get<ResultRow>(`SELECT ${resultColumns} FROM {p}_past WHERE task_id = ?`, id);
    if (result === undefined || !isSoundResult(result)) return setAside(tx, seq) ? 1 : 0;
    closeEdge(tx, seq, position, { ...result, finishedAt: result.finished_at });
    open--;
  }
  if (open === row.pending) return 0;
  sql.run("UPDATE {p}_tasks SET pending = ? WHERE seq = ?", open, seq);
  const failure = edgesOf(sql, seq).find(
    (edge) => edge.status !== null && edge.status !== "completed" && edge.may_fail === 0,
  );
  if (failure?.status !== null && failure !== undefined) failDependent(tx, row, failure.parent_id, failure.status);
  else if (open === 0) unblock(tx, row);
  return 1;
}

const number = whole("seq", 1, 2 ** 52);

/**
 * SQLite refuses new rows once a row has the largest number that there is, and JavaScript knows none above 2^53. Rows with such numbers get
 * others, and events, whose number is their place, go. Says whether there were any.
 */
export function renumber(sql: Sql, moved: (seq: number) => void): boolean {
  let found = false;
  for (const table of ["tasks", "events", "past"] as const) {
    for (const end of ["max", "min"] as const) {
      const worst = `(SELECT ${end}(seq) FROM {p}_${table})`;
      for (let rounds = 0; rounds < 1_000; rounds++) {
        const row = sql.get<{ seq: number | null }>(`SELECT ${worst} AS seq`);
        if (row === undefined || row.seq === null || isSound([number], row)) break;
        found = true;
        if (table === "events") sql.run(`DELETE FROM {p}_events WHERE seq = ${worst}`);
        else {
          const [[free] = [1]] = sql.rows<[number]>(
            `SELECT coalesce(max(seq), 0) + 1 FROM {p}_${table} WHERE seq BETWEEN 1 AND ${2 ** 52 - 1}`,
          );
          sql.run(`UPDATE {p}_${table} SET seq = ? WHERE seq = ${worst}`, free);
          if (table === "tasks") moved(free);
        }
      }
    }
    if (table === "past") continue;
    const reset = `UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(seq), 0) FROM {p}_${table})
      WHERE name = '{p}_${table}' AND (typeof(seq) <> 'integer' OR seq > ${2 ** 52})`;
    if (sql.run(reset) > 0) found = true;
  }
  return found;
}
