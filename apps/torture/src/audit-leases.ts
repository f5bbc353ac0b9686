// What the leases of a run must obey: of one task never two at a time, and inside a group with limit 1 the order in which it was enqueued.
import type { Line } from "./journal.ts";

type Of<Kind extends Line["kind"]> = Extract<Line, { kind: Kind }>;

/**
 * Two leases of one task overlap when the later one began, by the store's clock, before the deadline of the earlier one, and the holder of the
 * earlier one had sent no settlement. Deadlines that a heartbeat pushed out are not known here, so the check is never too strict.
 */
export function checkLeases(lines: readonly Line[], violations: string[]): void {
  const settled = new Set(lines.flatMap((line) => (line.kind === "settle" ? [line.token] : [])));
  const byTask = new Map<string, Of<"lease">[]>();
  for (const line of lines) if (line.kind === "lease") byTask.set(line.task, [...(byTask.get(line.task) ?? []), line]);
  for (const [task, leases] of byTask) {
    const inTime = leases.toSorted((a, b) => a.from - b.from);
    for (const [index, after] of inTime.entries()) {
      const before = inTime[index - 1];
      if (before && after.token !== before.token && !settled.has(before.token) && after.from < before.deadline)
        violations.push(`${task} had two leases at a time for ${before.deadline - after.from} ms`);
    }
  }
}

/**
 * The tasks that one process enqueued into a group are leased in that order for the first time. One whose first known lease is not its first (the
 * answer went to a process that died, or was lost with its connection) is left out.
 */
export function checkGroupOrder(lines: readonly (Line & { readonly pid: number })[], violations: string[]): void {
  const first = new Map<string, Of<"lease">>();
  for (const line of lines) {
    if (line.kind !== "lease") continue;
    const known = first.get(line.task);
    if (known === undefined || line.from < known.from) first.set(line.task, line);
  }
  const last = new Map<string, Of<"lease">>();
  for (const line of lines) {
    if (line.kind !== "accepted") continue;
    const lease = first.get(line.task);
    if (lease?.group === undefined || lease.expiries > 0) continue;
    const key = `${line.pid} ${lease.group}`;
    const before = last.get(key);
    if (before !== undefined && lease.from < before.from)
      violations.push(
        `${lease.task} of group ${lease.group} was leased before ${before.task}, which was enqueued first`,
      );
    last.set(key, lease);
  }
}
