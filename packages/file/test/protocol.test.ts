// The scenarios of the protocol's model, driven against the implementation in seeded random schedules. `node scripts/schedules.mjs` runs thousands.
import { describe, expect, test } from "vitest";
import { noScenarios, Violation, type Scenarios } from "./protocol-oracle.ts";
import { runSchedule, type RunOptions } from "./protocol-run.ts";
import { addUp, kindNames, kinds, runMany } from "./schedules.ts";

const each = 40;

describe("random schedules hold S1 to S5, L and GC", () => {
  const total = noScenarios();
  test.each(kindNames)(
    "%s",
    async (kind) => {
      const scenarios = await runMany(kinds[kind], 1, each);
      expect(scenarios.commits).toBeGreaterThan(each);
      addUp(total, scenarios);
    },
    600_000,
  );
  test("and every scenario of the model came up", () => {
    for (const [name, count] of Object.entries(total)) expect({ name, count }).not.toEqual({ name, count: 0 });
  });
  test("a seed gives the same schedule every time", async () => {
    const run = (): Promise<Scenarios> => runSchedule({ ...kinds.dates, seed: 7 });
    expect(await run()).toEqual(await run());
  });
});

describe("a store that breaks its promises is caught", () => {
  const findViolation = async (options: Partial<RunOptions>): Promise<unknown> => {
    for (let seed = 1; seed <= 2_000; seed++) {
      const caught = await runSchedule({ ...kinds.dates, ...options, seed }).catch((error: unknown) => error);
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
