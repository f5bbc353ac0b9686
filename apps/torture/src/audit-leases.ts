// What the leases of a task must obey: each begins only once the one before it has ended, by a settlement or by running out.
import type { History } from "./history.ts";
import type { Of, Outcome } from "./journal.ts";

type Lease = Of<"lease">;

/** How a lease stood as its holder knows it. */
interface Known {
  /** The latest host time at which a call was sent that was told that the lease is held. */
  held: number;
  /** By the store's clock. */
  deadline: number;
  readonly sent: Set<Outcome>;
  settled: Outcome | undefined;
  /** A release with a delay: when it was sent first, and how long the task waits from then on at least. */
  putOff: { readonly at: number; readonly delayMs: number } | undefined;
}

/** When a lease began at the latest, by the store's clock: a command may look at the clock first and wait for its turn then. */
export function latestBegin({ from, sent, at }: Lease): number {
  return from + Math.ceil(at - sent);
}

/**
 * Leases of one task come in the order of run, expiries, attempt: the queue counts what it ended itself. So of two that follow each other either
 * the expiries have grown, and the first was not renewed for its whole length; or its holder has sent a settlement, a retry that charged an
 * attempt or a release that charged none. A lease whose answer was lost is not known, and can only end by expiry.
 */
export function checkLeases(
  history: History,
  violations: string[],
): { readonly redeliveries: number; readonly unexplained: number; readonly releases: number; readonly putOff: number } {
  const known = knownOf(history, violations);
  const retried = new Set(history.of("retrying").map(({ task }) => task));
  const byTask = new Map<string, Lease[]>();
  for (const lease of history.of("lease")) {
    const others = byTask.get(lease.task);
    if (others === undefined) byTask.set(lease.task, [lease]);
    else others.push(lease);
  }
  let redeliveries = 0;
  let unexplained = 0;
  let releases = 0;
  let putOff = 0;
  for (const leases of byTask.values()) {
    leases.sort((a, b) => a.run - b.run || a.expiries - b.expiries || a.attempt - b.attempt || a.at - b.at);
    for (const [index, after] of leases.entries()) {
      const before = leases[index - 1];
      if (before === undefined) continue;
      const end = known.get(before.token);
      if (end === undefined) continue;
      if (before.expiries < after.expiries) {
        redeliveries++;
        if (!history.suffered(before.pid, before.sent, after.at) && !history.disturbed(before.sent, after.at))
          unexplained++;
      }
      if (before.expiries === after.expiries && before.attempt === after.attempt) {
        releases++;
        if (end.putOff !== undefined) putOff++;
      }
      const wrong =
        before.run === after.run
          ? sameRun(history, before, after, end)
          : !retried.has(after.task) && `run ${after.run} of it was leased, and nobody retried it`;
      if (wrong !== false) violations.push(`${after.task}: ${wrong}`);
    }
  }
  return { redeliveries, unexplained, releases, putOff };
}

function knownOf(history: History, violations: string[]): Map<string, Known> {
  const known = new Map<string, Known>();
  for (const { task, token, sent, deadline } of history.of("lease")) {
    if (known.has(token)) violations.push(`${task}: one token was given twice`);
    known.set(token, { held: sent, deadline, sent: new Set(), settled: undefined, putOff: undefined });
  }
  for (const { token, sent, deadline } of history.of("extended")) {
    const lease = known.get(token);
    if (lease === undefined) continue;
    lease.held = Math.max(lease.held, sent);
    lease.deadline = Math.max(lease.deadline, deadline);
  }
  for (const { token, outcome, at, delayMs } of history.of("settle")) {
    const lease = known.get(token);
    lease?.sent.add(outcome);
    if (lease !== undefined && at !== undefined && delayMs !== undefined) lease.putOff ??= { at, delayMs };
  }
  for (const { token, outcome } of history.of("settled")) {
    const lease = known.get(token);
    if (lease !== undefined) lease.settled = outcome;
  }
  return known;
}

/** What is wrong with two leases that follow each other in one run. */
function sameRun(history: History, before: Lease, after: Lease, end: Known): string | false {
  if (end.settled !== undefined && end.settled !== "retry" && end.settled !== "release")
    return `it was leased again after it was settled as ${end.settled}`;
  const charged = after.attempt - before.attempt;
  const mayBe = [
    ...(end.sent.has("retry") ? [1] : []),
    ...(end.sent.has("release") || after.expiries > before.expiries ? [0] : []),
  ];
  if (mayBe.length === 0) return `it had two leases at a time: the first was neither settled nor did it run out`;
  if (!mayBe.includes(charged))
    return `its attempt went from ${before.attempt} to ${after.attempt} between two leases, not by ${mayBe.join(" or ")}`;
  const { putOff } = end;
  if (end.settled === "release" && putOff !== undefined && !history.disturbed(putOff.at, after.at)) {
    const early = putOff.at + putOff.delayMs - history.toleranceMs - after.at;
    if (early > 0) return `it was leased again ${Math.ceil(early)} ms before the end of its release's delay`;
  }
  // A settlement whose answer was lost may have ended it, and another lease that nobody knows ran out.
  if (end.sent.has("retry") || end.sent.has("release") || history.disturbed(end.held, after.at)) return false;
  const leaseMs = before.deadline - before.from;
  if (latestBegin(after) < end.deadline)
    return `it had two leases at a time for ${end.deadline - latestBegin(after)} ms by the store's clock`;
  if (after.at < end.held + leaseMs - history.toleranceMs)
    return `it had two leases at a time for ${Math.ceil(end.held + leaseMs - after.at)} ms`;
  return false;
}
