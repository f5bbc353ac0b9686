// Reads everything back and checks the recorded history against the rules.
import type { OmniQ } from "@omniq/core";
import { checkLeases, latestBegin } from "./audit-leases.ts";
import { longestCall, type LongestCall } from "./calls.ts";
import { checkGroupOrder, checkGroups, checkOrder } from "./audit-order.ts";
import { checkResults, readResults } from "./audit-results.ts";
import { checkCounts, checkSchedule } from "./audit-storage.ts";
import type { Circumstances } from "./history.ts";
import { History, readJournals } from "./history.ts";
import { leaseMs } from "./tasks.ts";

/** What was found, with numbers that show how much there was to judge. */
export interface Findings {
  readonly accepted: number;
  readonly executions: number;
  readonly leases: number;
  /** Leases that followed one which ran out, and those that followed a release. */
  readonly redeliveries: number;
  /** Redeliveries after a lease whose holder suffered no fault: it was too slow, as a busy host makes it. */
  readonly unexplained: number;
  readonly releases: number;
  /** Those of them that were released with a delay. */
  readonly putOff: number;
  /** Pairs of tasks whose order was judged. */
  readonly ordered: number;
  /** Dead letters that were retried and have the result of their second run. */
  readonly revived: number;
  readonly cancelled: number;
  readonly blocked: number;
  readonly occurrences: number;
  /** Tasks whose leases ran out three times in one run of faults, and their dependents: dead letters, as promised. */
  readonly unlucky: number;
  readonly longest: LongestCall | undefined;
  readonly violations: readonly string[];
}

/** Checks results, starts, leases, groups, orders, counts against lists, and schedules. */
export async function audit(
  omniq: OmniQ,
  folder: string,
  circumstances: Circumstances,
  schedules: readonly string[],
): Promise<Findings> {
  const history = new History(readJournals(folder), circumstances);
  const violations: string[] = [];
  const results = await readResults(omniq);
  const { unlucky, revived, cancelled } = checkResults(history, results, violations);
  checkStarts(history, violations);
  const { redeliveries, unexplained, releases, putOff } = checkLeases(history, violations);
  checkGroups(history, violations);
  checkGroupOrder(history, violations);
  const ordered = checkOrder(history, violations);
  await checkCounts(omniq, violations);
  let occurrences = 0;
  for (const id of schedules) occurrences += await checkSchedule(omniq, id, results, violations);
  return {
    accepted: history.of("accepted").length,
    executions: history.of("start").length,
    leases: history.of("lease").length,
    redeliveries,
    unexplained,
    releases,
    putOff,
    ordered,
    revived,
    cancelled,
    blocked: history.of("end").filter(({ at, started }) => at - started >= 3 * leaseMs).length,
    occurrences,
    unlucky,
    longest: longestCall(history),
    violations,
  };
}

/** No lease before the task is due by the store's clock, and no start before its delay is over by everyone's. */
function checkStarts(history: History, violations: string[]): void {
  for (const lease of history.of("lease")) {
    const early = lease.runAt - latestBegin(lease);
    if (early > 0 && !history.disturbed(lease.sent, lease.at))
      violations.push(`${lease.task} was leased ${early} ms before it was due`);
  }
  for (const { task, at, since, notBefore } of history.of("start"))
    if (notBefore !== undefined && at < notBefore - history.toleranceMs && !history.disturbed(since ?? 0, at))
      violations.push(`${task} started ${Math.ceil(notBefore - at)} ms early`);
}
