// Tasks that cannot be read: each becomes a dead letter that says so, and holds back nothing else.
import { soundCondition } from "./columns.ts";
import { damagedTaskError } from "./damaged-error.ts";
import { leaveGroup } from "./groups.ts";
import { releaseKey, tellDependents } from "./outcomes.ts";
import { renumber } from "./scan.ts";
import { isSoundSlim, lostId, slimColumns, taskColumns, type SlimRow } from "./task-row.ts";
import type { Transacting } from "./sql.ts";

/** What a column becomes when it is lost; the others become empty texts, or NULL where they may. */
const lost: Readonly<Record<string, string>> = {
  id: "'omniq-damaged-' || seq",
  max_attempts: "1",
  run: "1",
  priority: "0",
  result_ttl: "0",
};
/** What a dead letter of this kind has, lost or not. */
const fixed: Readonly<Record<string, string>> = {
  state: "5",
  damaged: "1",
  unrecorded: "0",
  cancelling: "0",
  slot: "0",
  edges: "0",
  pending: "0",
  token: "NULL",
  deadline: "NULL",
  dedup_key: "NULL",
  dedup_window: "NULL",
  group_key: "NULL",
  group_limit: "NULL",
};
const setAsideText = `UPDATE {p}_tasks SET ${taskColumns
  .filter(({ name }) => name !== "seq" && name !== "error" && name !== "finished_at")
  .map((column) => {
    const { name } = column;
    const value = column.nullable ? "NULL" : column.texts === undefined ? "0" : "''";
    return `${name} = ${fixed[name] ?? `iif(${soundCondition(column)}, ${name}, ${lost[name] ?? value})`}`;
  })
  .join(", ")}, error = ?, finished_at = ? WHERE seq = ?`;

/** Makes a task that cannot be read a dead letter. Says whether it did. */
export function setAside(tx: Transacting, seq: number): boolean {
  const { sql, now } = tx;
  if (!(seq >= 1 && seq <= 2 ** 52)) return renumber(sql, (moved) => setAside(tx, moved));
  const row = sql.get<SlimRow>(`SELECT ${slimColumns} FROM {p}_tasks WHERE seq = ?`, seq);
  if (row === undefined || row.seq !== seq || sql.run(setAsideText, damagedTaskError, now, seq) === 0) return false;
  const id = typeof row.id === "string" ? row.id : lostId(seq);
  sql.run("INSERT OR IGNORE INTO {p}_queues (name) VALUES (?)", typeof row.queue === "string" ? row.queue : "");
  sql.run("DELETE FROM {p}_dependencies WHERE child = ?", seq);
  if (typeof row.queue === "string") {
    if (typeof row.group_key === "string") leaveGroup(tx, row);
    if (typeof row.dedup_key === "string") releaseKey(tx, { id, queue: row.queue, dedup_key: row.dedup_key });
  }
  tx.wake.damaged.push(id);
  tx.wake.tasks = true;
  tellDependents(
    tx,
    { id, dependents: 1 },
    { status: "failed", run: 1, attempt: 0, finishedAt: now, value: null, error: damagedTaskError },
  );
  return true;
}

/** The row, if it can be used; else its task is set aside. */
export function sound(tx: Transacting, row: SlimRow | undefined): SlimRow | undefined {
  if (row === undefined || isSoundSlim(row)) return row;
  setAside(tx, row.seq);
  return undefined;
}
