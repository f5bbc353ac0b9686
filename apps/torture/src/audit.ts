// Reads everything back and checks the recorded history against the rules.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { OmniQ } from "@omniq/core";
import { longestCall } from "./calls.ts";
import { checkGroupOrder, checkLeases } from "./audit-leases.ts";
import type { Expected, Line } from "./journal.ts";

type Noted = Line & { readonly pid: number };
/** A fault that a process suffered; what it did meanwhile proves nothing against the queue. */
export interface Fault {
  readonly pid: number;
  readonly from: number;
  readonly to: number;
}
export interface Findings {
  readonly accepted: number;
  readonly executions: number;
  readonly leases: number;
  readonly occurrences: number;
  /** Tasks whose leases ran out three times in one run of faults, and their dependents: dead letters, as promised. */
  readonly unlucky: number;
  /** Of a process that neither was stopped nor blocked itself meanwhile. */
  readonly longest: { readonly verb: string; readonly ms: number } | undefined;
  readonly violations: readonly string[];
}

function readJournals(folder: string): Noted[] {
  const lines: Noted[] = [];
  for (const name of readdirSync(folder)) {
    for (const text of readFileSync(join(folder, name), "utf8").split("\n")) {
      // The last line of a killed process may be torn.
      if (text.endsWith("}")) lines.push(JSON.parse(text) as Noted);
    }
  }
  return lines;
}

/** Checks results, early starts, leases, groups and their order, counts against lists, and schedules. */
export async function audit(
  omniq: OmniQ,
  folder: string,
  faults: readonly Fault[],
  schedules: readonly string[],
): Promise<Findings> {
  const lines = readJournals(folder);
  const violations: string[] = [];
  const accepted = lines.filter((line) => line.kind === "accepted");
  const results = await readResults(omniq);
  const unlucky = accepted.filter(({ task, expect }) => checkResult(task, expect, results.get(task) ?? [], violations));
  // Three faults in a row on one task are rare; many would mean that leases are lost without a fault.
  if (unlucky.length > Math.max(3, accepted.length / 50))
    violations.push(
      `${unlucky.length} tasks became dead letters, more than faults explain: ${unlucky
        .slice(0, 5)
        .map((one) => one.task)
        .join(", ")}`,
    );
  for (const [task, found] of results) if (found.length > 1) violations.push(`${found.length} results for ${task}`);
  for (const line of lines) {
    if (line.kind === "start" && line.notBefore !== undefined && line.at < line.notBefore - 2) {
      violations.push(`${line.task} started ${line.notBefore - line.at} ms early`);
    }
  }
  checkGroups(lines, faults, violations);
  checkLeases(lines, violations);
  checkGroupOrder(lines, violations);
  await checkCounts(omniq, violations);
  let occurrences = 0;
  for (const id of schedules) occurrences += await checkSchedule(omniq, id, results, violations);
  return {
    accepted: accepted.length,
    executions: lines.filter((line) => line.kind === "start").length,
    leases: lines.filter((line) => line.kind === "lease").length,
    occurrences,
    unlucky: unlucky.length,
    longest: longestCall(lines, faults),
    violations,
  };
}

interface Kept {
  readonly status: string;
  readonly value: string | undefined;
  readonly error: string | undefined;
}

async function readResults(omniq: OmniQ): Promise<Map<string, Kept[]>> {
  const storage = omniq.components.resultStorage;
  if (storage === undefined) throw new Error("torture needs a result storage");
  const results = new Map<string, Kept[]>();
  let cursor: string | undefined;
  do {
    const page = await storage.list({}, { limit: 1_000, cursor });
    for (const { taskId, status, value, error } of page.items) {
      results.set(taskId, [...(results.get(taskId) ?? []), { status, value, error }]);
    }
    cursor = page.next;
  } while (cursor !== undefined);
  return results;
}

/** A dead letter that the queue made because of faults, not an outcome of the handler. */
const unluckyCodes = ["OMNIQ_LEASE_LOST", "OMNIQ_DEPENDENCY_FAILED"];

/** True for a task that three faults in a row made a dead letter. */
function checkResult(task: string, expect: Expected, found: readonly Kept[], violations: string[]): boolean {
  const [result] = found;
  if (result === undefined) violations.push(`${task} was accepted and has no result`);
  else if ("code" in expect) {
    if (result.status !== "failed" || !result.error?.includes(expect.code))
      violations.push(`${task} is ${result.status} (${result.error?.slice(0, 200)}), not failed with ${expect.code}`);
  } else if (result.status !== "completed") {
    if (result.status === "failed" && unluckyCodes.some((code) => result.error?.includes(code))) return true;
    violations.push(`${task} is ${result.status}: ${result.error?.slice(0, 300)}`);
  } else if (result.value !== JSON.stringify(expect.output))
    violations.push(`${task} gave ${result.value}, not ${JSON.stringify(expect.output)}`);
  return false;
}

/** Two executions of one group with limit 1 never overlap, but for those of a process that was stopped or killed meanwhile. */
function checkGroups(lines: readonly Noted[], faults: readonly Fault[], violations: string[]): void {
  const groups = new Map<string, { task: string; pid: number; from: number; to: number }[]>();
  for (const line of lines) {
    if (line.kind !== "end" || line.group === undefined) continue;
    const run = { task: line.task, pid: line.pid, from: line.started, to: line.at };
    if (faults.some((fault) => fault.pid === run.pid && fault.from <= run.to && fault.to >= run.from)) continue;
    groups.set(line.group, [...(groups.get(line.group) ?? []), run]);
  }
  for (const [group, runs] of groups) {
    runs.sort((a, b) => a.from - b.from);
    for (let index = 1; index < runs.length; index++) {
      const [before, after] = [runs[index - 1], runs[index]];
      if (before && after && before.task !== after.task && after.from < before.to)
        violations.push(
          `${before.task} and ${after.task} of group ${group} overlapped by ${before.to - after.from} ms`,
        );
    }
  }
}

async function checkCounts(omniq: OmniQ, violations: string[]): Promise<void> {
  for (const queue of ["torture", "poison"]) {
    const counts = await omniq.queue(queue).counts();
    const listed = new Map<string, number>();
    for await (const { state } of omniq.tasks.list({ queue })) listed.set(state, (listed.get(state) ?? 0) + 1);
    for (const state of ["blocked", "scheduled", "ready", "active", "failed"] as const) {
      if (counts[state] !== (listed.get(state) ?? 0))
        violations.push(`queue ${queue} counts ${counts[state]} ${state} and lists ${listed.get(state) ?? 0}`);
      if (state !== "failed" && counts[state] > 0)
        violations.push(`queue ${queue} still has ${counts[state]} ${state}`);
    }
    if (counts.unrecorded > 0) violations.push(`queue ${queue} has ${counts.unrecorded} unrecorded outcomes`);
  }
}

/** Every occurrence that the schedule counts has a task of its own. */
async function checkSchedule(
  omniq: OmniQ,
  id: string,
  results: ReadonlyMap<string, unknown>,
  violations: string[],
): Promise<number> {
  const schedule = await omniq.schedules.get(id);
  const times = [...results.keys()]
    .filter((task) => task.startsWith(`schedule:${id}@`))
    .map((task) => Date.parse(task.slice(`schedule:${id}@`.length)))
    .sort((a, b) => a - b);
  // A pause that falls between an enqueue and its advance leaves the count behind until the schedule goes on.
  if (schedule === undefined || times.length < schedule.runs)
    violations.push(`schedule ${id} counts ${schedule?.runs} runs and has ${times.length} tasks with results`);
  for (let index = 1; index < times.length; index++) {
    const gap = (times[index] ?? 0) - (times[index - 1] ?? 0);
    if (gap !== 1_000) violations.push(`schedule ${id} has a gap of ${gap} ms between occurrences`);
  }
  return times.length;
}
