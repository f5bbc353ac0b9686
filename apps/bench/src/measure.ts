// Small helpers of the benchmarks: medians, temporary folders, tasks as the contract takes them.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NewTask } from "@omniq/core";

/** The middle value. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Runs `body` with a folder of its own that is removed afterwards. */
export async function withFolder<T>(body: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "omniq-bench-"));
  try {
    return await body(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A plain task for the contract's own verbs. */
export function plainTask(id: string): NewTask {
  return {
    id,
    name: "bench",
    queue: "bench",
    payload: '{"n":1}',
    envelope: "{}",
    priority: 0,
    maxAttempts: 5,
    resultTtlMs: 86_400_000,
    rememberMs: 600_000,
  };
}
