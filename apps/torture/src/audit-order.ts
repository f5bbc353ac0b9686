// What must come first: inside a group the task that was enqueued first, inside a queue the one of higher priority, then the one enqueued first.
import { latestBegin } from "./audit-leases.ts";
import type { History } from "./history.ts";
import type { Of } from "./journal.ts";

type Lease = Of<"lease">;
type Accepted = Of<"accepted">;
interface First extends Lease {
  readonly accepted: Accepted;
}

/** The first lease of each accepted task. One whose first known lease is not its first (the answer was lost with a process or a connection) is left out. */
function firstLeases(history: History): readonly First[] {
  const first = new Map<string, Lease>();
  for (const lease of history.of("lease")) {
    const known = first.get(lease.task);
    if (known === undefined || lease.at < known.at) first.set(lease.task, lease);
  }
  return history.of("accepted").flatMap((accepted) => {
    const lease = first.get(accepted.task);
    return lease === undefined || lease.run > 1 || lease.expiries > 0 || lease.attempt > 1
      ? []
      : [{ ...lease, accepted }];
  });
}

/** Two executions of one group with limit 1 never overlap, but for those of a process that was stopped or killed meanwhile. */
export function checkGroups(history: History, violations: string[]): void {
  const groups = new Map<string, { task: string; from: number; to: number }[]>();
  for (const { task, group, pid, started, at } of history.of("end")) {
    if (group === undefined) continue;
    if (history.faults.some((fault) => fault.pid === pid && fault.from <= at && fault.to >= started)) continue;
    groups.set(group, [...(groups.get(group) ?? []), { task, from: started, to: at }]);
  }
  for (const [group, runs] of groups) {
    runs.sort((a, b) => a.from - b.from);
    for (const [index, after] of runs.entries()) {
      const before = runs[index - 1];
      if (before === undefined || before.task === after.task || after.from >= before.to) continue;
      if (!history.disturbed(before.from - 10_000, before.to))
        violations.push(
          `${before.task} and ${after.task} of group ${group} overlapped by ${Math.ceil(before.to - after.from)} ms`,
        );
    }
  }
}

/** Of two tasks of one group, one enqueued after the other was accepted, that other one is leased first. */
export function checkGroupOrder(history: History, violations: string[]): void {
  const groups = new Map<string, First[]>();
  for (const lease of firstLeases(history))
    if (lease.group !== undefined) groups.set(lease.group, [...(groups.get(lease.group) ?? []), lease]);
  for (const [group, leases] of groups) {
    const byAnswer = leases.toSorted((a, b) => a.accepted.at - b.accepted.at);
    let next = 0;
    let latest: First | undefined;
    for (const after of leases.toSorted((a, b) => a.accepted.sent - b.accepted.sent)) {
      for (let before = byAnswer[next]; before !== undefined && before.accepted.at <= after.accepted.sent;) {
        if (latest === undefined || before.from > latest.from) latest = before;
        before = byAnswer[++next];
      }
      if (
        latest !== undefined &&
        latestBegin(after) < latest.from &&
        !history.disturbed(latest.accepted.sent, after.at)
      )
        violations.push(`${after.task} of group ${group} was leased before ${latest.task}, which was enqueued first`);
    }
  }
}

/**
 * A task that could start as soon as it was enqueued waits from the answer of its enqueue until its first lease is asked for. No reserve that
 * began and ended meanwhile may give one of lower priority, or one of the same that was enqueued later, unless a claim that ended with its
 * process or connection may have held the first. Answers how many pairs waited side by side whose order is given.
 */
export function checkOrder(history: History, violations: string[]): number {
  checkAnswers(history, violations);
  const plain = new Map(firstLeases(history).flatMap((lease) => (lease.plain ? [[lease.token, lease]] : [])));
  const inTime = history.of("lease").toSorted((a, b) => a.sent - b.sent);
  for (const waiting of plain.values()) {
    const { accepted, queue, priority } = waiting;
    for (let index = firstFrom(inTime, accepted.at); index < inTime.length; index++) {
      const given = inTime[index] as Lease;
      if (given.sent > waiting.sent) break;
      if (given.at > waiting.sent || given.queue !== queue || given.priority > priority) continue;
      const isLater = (plain.get(given.token)?.accepted.sent ?? 0) >= accepted.at;
      if (given.priority === priority && !isLater) continue;
      if (history.disturbed(accepted.sent, given.at) || history.interrupted(given.sent, given.at)) continue;
      violations.push(
        given.priority < priority
          ? `${given.task} of priority ${given.priority} was leased while ${waiting.task} of priority ${priority} waited`
          : `${given.task} was leased while ${waiting.task}, which was enqueued first, waited`,
      );
    }
  }
  return countOrdered([...plain.values()]);
}

/** Pairs that waited at the same time, one of which has to come first. */
function countOrdered(leases: readonly First[]): number {
  const inTime = leases.toSorted((a, b) => a.accepted.at - b.accepted.at);
  let count = 0;
  for (const [index, one] of inTime.entries()) {
    for (let next = index + 1; next < inTime.length; next++) {
      const other = inTime[next] as First;
      if (other.accepted.at > one.sent) break;
      if (other.queue === one.queue && (other.priority !== one.priority || other.accepted.sent >= one.accepted.at))
        count++;
    }
  }
  return count;
}

/** Inside one answer leases of a queue come by priority. */
function checkAnswers(history: History, violations: string[]): void {
  const answers = new Map<string, Lease[]>();
  for (const lease of history.of("lease")) {
    const key = `${lease.pid} ${lease.call} ${lease.queue}`;
    answers.set(key, [...(answers.get(key) ?? []), lease]);
  }
  for (const leases of answers.values()) {
    leases.sort((a, b) => a.index - b.index);
    for (const [index, after] of leases.entries()) {
      const before = leases[index - 1];
      if (before !== undefined && after.priority > before.priority)
        violations.push(
          `one answer gave ${before.task} of priority ${before.priority} before ${after.task} of priority ${after.priority}`,
        );
    }
  }
}

/** The first lease that was sent at this time or later. */
function firstFrom(leases: readonly Lease[], at: number): number {
  let [low, high] = [0, leases.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((leases[middle] as Lease).sent < at) low = middle + 1;
    else high = middle;
  }
  return low;
}
