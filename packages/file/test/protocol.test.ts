// The scenarios of the protocol's model, driven against the implementation in seeded random schedules.
import { describe, expect, test } from "vitest";
import { runSchedule, Violation, type RunOptions, type RunReport } from "./protocol-run.ts";

const seeds = Number(process.env["OMNIQ_TEST_SCHEDULES"] ?? 40);
const base: Omit<RunOptions, "seed"> = { steps: 1_500, processes: 3, graceMs: 40_000, laneLimit: 4 };

async function runMany(options: Omit<RunOptions, "seed">, first: number): Promise<RunReport> {
  const total: Record<string, number> = {};
  for (let seed = first; seed < first + seeds; seed++)
    for (const [name, value] of Object.entries(await runSchedule({ ...options, seed })))
      total[name] = (total[name] ?? 0) + value;
  return total as unknown as RunReport;
}

describe("random schedules hold S1 to S5", () => {
  test("what is young is trusted by dates", async () => {
    const report = await runMany(base, 1);
    expect(report.commits).toBeGreaterThan(seeds);
    expect(report.deleted).toBeGreaterThan(0);
    expect(report.ghosts).toBeGreaterThan(0);
    expect(report.crashes).toBeGreaterThan(0);
  }, 600_000);
  test("a short grace: every answer is followed by a list", async () => {
    const report = await runMany({ ...base, graceMs: 400 }, 100_001);
    expect(report.deleted).toBeGreaterThan(0);
    expect(report.ghosts).toBeGreaterThan(0);
  }, 600_000);
  test("two processes and two lanes: evictions all the time", async () => {
    const report = await runMany({ ...base, processes: 2, laneLimit: 1, steps: 1_000 }, 200_001);
    expect(report.commits).toBeGreaterThan(seeds);
  }, 600_000);
});

describe("a store that breaks its promises is caught", () => {
  const findViolation = async (options: Partial<RunOptions>): Promise<unknown> => {
    for (let seed = 1; seed <= 2_000; seed++) {
      const caught = await runSchedule({ ...base, ...options, seed }).catch((error: unknown) => error);
      if (caught instanceof Error) return caught;
    }
    return undefined;
  };
  test("dates that stand still", async () => {
    expect(await findViolation({ frozenDates: true })).toBeInstanceOf(Violation);
  }, 600_000);
  test("creates that overwrite", async () => {
    expect(await findViolation({ careless: true })).toBeInstanceOf(Violation);
  }, 600_000);
});
