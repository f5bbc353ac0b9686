// Made-up journals for tests of the auditor: what a line says by default, and what the auditor finds in them.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OmniQ } from "@omniq/core";
import { audit, type Findings } from "../src/audit.ts";
import type { Circumstances } from "../src/history.ts";
import type { Expected, Line, Of, Outcome } from "../src/journal.ts";

export type Written = Line & { readonly pid?: number };

/** Leases of 3,000 ms; the store's clock and the host's show the same. */
export function lease(task: string, at: number, more: Partial<Of<"lease">> = {}): Written {
  return {
    kind: "lease",
    task,
    token: `${task} ${at}`,
    run: 1,
    attempt: 1,
    expiries: 0,
    queue: "torture",
    priority: 0,
    plain: true,
    from: at,
    deadline: at + 3_000,
    runAt: 0,
    sent: at,
    at,
    call: at,
    index: 0,
    ...more,
  };
}
export function accepted(task: string, sent: number, at: number, expect: Expected = { output: 0 }): Written {
  return { kind: "accepted", task, expect, sent, at };
}
/** A settlement of the lease that {@link lease} made at this time. */
export function settle(task: string, at: number, outcome: Outcome): Written {
  return { kind: "settle", task, token: `${task} ${at}`, outcome };
}
/** The same, answered. */
export function settled(task: string, at: number, outcome: Outcome, run = 1): readonly Written[] {
  return [settle(task, at, outcome), { kind: "settled", task, token: `${task} ${at}`, run, outcome }];
}

/** Audits these lines on a client. */
export async function auditOf(
  omniq: OmniQ,
  lines: readonly Written[],
  circumstances: Partial<Circumstances> = {},
  schedules: readonly string[] = [],
): Promise<Findings> {
  const folder = mkdtempSync(join(tmpdir(), "omniq-audit-"));
  try {
    const text = lines.map((line) => `${JSON.stringify({ pid: 1, ...line })}\n`).join("");
    // The last line of a killed process may be torn.
    writeFileSync(join(folder, "one.jsonl"), `${text}{"pid":1,"kind":"sta`);
    const all = { faults: [], ends: [], storeSteps: [], toleranceMs: 5, ...circumstances };
    return await audit(omniq, folder, all, schedules);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
