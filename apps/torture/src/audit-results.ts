// What must have come of each task: one result of its run, the right one, and of each run one settlement that stood.
import type { OmniQ } from "@omniq/core";
import type { History } from "./history.ts";
import type { Of } from "./journal.ts";

export interface Kept {
  readonly run: number;
  readonly status: string;
  readonly value: string | undefined;
  readonly error: string | undefined;
}

/** All results by task. */
export async function readResults(omniq: OmniQ): Promise<ReadonlyMap<string, readonly Kept[]>> {
  const storage = omniq.components.resultStorage;
  if (storage === undefined) throw new Error("torture needs a result storage");
  const results = new Map<string, Kept[]>();
  let cursor: string | undefined;
  do {
    const page = await storage.list({}, { limit: 1_000, cursor });
    for (const { taskId, run, status, value, error } of page.items)
      results.set(taskId, [...(results.get(taskId) ?? []), { run, status, value, error }]);
    cursor = page.next;
  } while (cursor !== undefined);
  return results;
}

/** Within this of its enqueue a cancel comes long before the task would end by itself. */
const inTimeMs = 30_000;
/** A dead letter that the queue made because of faults, not an outcome of the handler. */
const unluckyCodes = ["OMNIQ_LEASE_LOST", "OMNIQ_DEPENDENCY_FAILED"];

export function checkResults(
  history: History,
  results: ReadonlyMap<string, readonly Kept[]>,
  violations: string[],
): { readonly unlucky: number; readonly revived: number; readonly cancelled: number } {
  const retrying = new Set(history.of("retrying").map(({ task }) => task));
  const retried = new Set(history.of("retried").map(({ task }) => task));
  const accepted = history.of("accepted");
  const told = history.of("cancelled").filter(({ state }) => state === "cancelled" || state === "cancelling");
  const cancels = new Map(told.toSorted((a, b) => b.at - a.at).map((line) => [line.task, line]));
  const unlucky = accepted.filter((one) => {
    const [result] = results.get(one.task) ?? [];
    if (result === undefined) {
      violations.push(`${one.task} was accepted and has no result`);
      return false;
    }
    const again = retried.has(one.task) ? "yes" : retrying.has(one.task) ? "perhaps" : "no";
    const verdict =
      "cancelled" in one.expect ? judgeCancelled(one, result, cancels.get(one.task)) : judge(one, result, again);
    if (verdict !== "right" && verdict !== "unlucky") violations.push(`${one.task} ${verdict}`);
    return verdict === "unlucky";
  });
  // Three leases that run out in a row are rarer than one; many dead letters would mean that leases are lost without a fault.
  const { length: leases } = history.of("lease");
  const ranOut = history.of("lease").filter(({ expiries }) => expiries > 0).length;
  const share = leases === 0 ? 0 : ranOut / leases;
  if (unlucky.length > Math.max(3, accepted.length * Math.max(0.02, share / 2))) {
    const some = unlucky.slice(0, 5).map(({ task }) => task);
    violations.push(`${unlucky.length} tasks became dead letters, more than faults explain: ${some.join(", ")}`);
  }
  for (const [task, found] of results) if (found.length > 1) violations.push(`${found.length} results for ${task}`);
  checkSettlements(history, violations);
  const revived = accepted.filter(({ task }) => retried.has(task) && results.get(task)?.[0]?.status === "completed");
  checkCancels(history, violations);
  const cancelled = accepted.filter(({ task }) => results.get(task)?.[0]?.status === "cancelled");
  return { unlucky: unlucky.length, revived: revived.length, cancelled: cancelled.length };
}

/** `again`: whether the task was retried as a dead letter; `perhaps`, as its producer died while it asked for that. */
function judge({ expect }: Of<"accepted">, result: Kept, again: "yes" | "perhaps" | "no"): string {
  const { status, run, value, error } = result;
  const told = error?.slice(0, 300);
  if (again === "yes" ? run < 2 : again === "no" && run !== 1) return `has a result of run ${run}`;
  if ("cancelled" in expect) return "is judged elsewhere";
  if ("code" in expect)
    return status === "failed" && error?.includes(expect.code)
      ? "right"
      : `is ${status} (${told}), not failed with ${expect.code}`;
  if (status === "failed" && unluckyCodes.some((code) => error?.includes(code))) return "unlucky";
  if (expect.dies && run === 1)
    return status === "failed" && error?.includes("the first run always fails")
      ? "right"
      : `is ${status} in its first run, not failed`;
  if (status !== "completed") return `is ${status}: ${told}`;
  return value === JSON.stringify(expect.output) ? "right" : `gave ${value}, not ${JSON.stringify(expect.output)}`;
}

/** What was cancelled in time has not completed. Its cancel may have taken effect without an answer. */
function judgeCancelled({ at }: Of<"accepted">, result: Kept, cancel: Of<"cancelled"> | undefined): string {
  const { status, error } = result;
  if (status === "cancelled") return "right";
  if (status === "failed" && unluckyCodes.some((code) => error?.includes(code))) return "unlucky";
  const inTime = cancel !== undefined && cancel.at < at + inTimeMs;
  return status === "completed" && !inTime ? "right" : `is ${status}, though its cancel was answered ${cancel?.state}`;
}

/** What was cancelled before it was given is never given. */
function checkCancels(history: History, violations: string[]): void {
  const over = new Map(
    history.of("cancelled").flatMap(({ task, state, at }) => (state === "cancelled" ? [[task, at]] : [])),
  );
  for (const { task, sent } of history.of("lease")) {
    const at = over.get(task);
    if (at !== undefined && sent > at)
      violations.push(`${task} was leased ${Math.ceil(sent - at)} ms after it was cancelled`);
  }
}

/** Of each run one settlement stood, whoever sent others. */
function checkSettlements(history: History, violations: string[]): void {
  const stood = new Map<string, string>();
  for (const { task, token, run, outcome } of history.of("settled")) {
    if (outcome === "retry" || outcome === "release") continue;
    const key = `${task} ${run}`;
    const before = stood.get(key);
    if (before !== undefined && before !== token) violations.push(`run ${run} of ${task} was settled twice`);
    stood.set(key, token);
  }
}
