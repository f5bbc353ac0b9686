// The plan of faults: the same for the same seed, and only what can be done; and clocks that can be set.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findClockLibrary } from "../../../scripts/clock-library.mjs";
import { clockEnvironment, setClock } from "../src/clocks.ts";
import { planFaults, type PlannedFault, type Targets } from "../src/faults.ts";
import { seeded } from "../src/random.ts";

const targets: Targets = {
  workers: 3,
  processes: 6,
  servers: [
    { restarts: true, clock: false },
    { restarts: false, clock: true },
  ],
  clocks: "processes",
};
const plan = (seed: number, more: Partial<Targets> = {}): readonly PlannedFault[] =>
  planFaults(seed, 600_000, 650, { ...targets, ...more });
const kinds = (faults: readonly PlannedFault[]): ReadonlySet<string> => new Set(faults.map(({ kind }) => kind));

test("the same seed gives the same plan of faults, another seed another", () => {
  expect(plan(7)).toEqual(plan(7));
  expect(plan(8)).not.toEqual(plan(7));
  expect(kinds(plan(7))).toEqual(new Set(["kill", "stop", "suspend", "restart", "cut", "clock"]));
});

test("faults hit only what is there and can bear them", () => {
  expect(kinds(plan(7, { servers: [], clocks: "none" }))).toEqual(new Set(["kill", "stop", "suspend"]));
  for (const fault of plan(7)) {
    if (fault.kind === "restart") expect(fault.server).toBe(0);
    if (fault.kind === "stop") expect(fault.process).toBeLessThan(targets.workers);
    if (fault.kind === "clock" && fault.clock.of === "server") expect(fault.clock.index).toBe(1);
  }
});

test("clocks of processes are set by up to two lease lengths or an hour, both ways; those that a store goes by never by an hour", () => {
  const steps = (faults: readonly PlannedFault[], of: readonly string[]): readonly number[] =>
    faults.flatMap((fault) => (fault.kind === "clock" && of.includes(fault.clock.of) ? [fault.stepMs] : []));
  const own = steps(plan(7), ["process"]);
  expect(own).toContain(3_600_000);
  expect(own).toContain(-3_600_000);
  expect(own.filter((ms) => Math.abs(ms) <= 6_000).length).toBeGreaterThan(10);
  const stores = [...steps(plan(7), ["server"]), ...steps(plan(7, { clocks: "host" }), ["host"])];
  expect(stores.length).toBeGreaterThan(10);
  expect(Math.max(...stores.map(Math.abs))).toBeLessThanOrEqual(6_000);
  expect(stores.some((ms) => ms < 0) && stores.some((ms) => ms > 0)).toBe(true);
});

test("the same seed gives the same numbers", () => {
  const [one, two, three] = [seeded(7), seeded(7), seeded(8)].map((random) => Array.from({ length: 5 }, random));
  expect(one).toEqual(two);
  expect(one).not.toEqual(three);
  for (const number of one ?? []) expect(number >= 0 && number < 1).toBe(true);
});

test("a clock that is set is wrong by that much, in the process that it is set for only", () => {
  const library = findClockLibrary();
  if (library === undefined) {
    // Who may install packages has it by now; to others torture says what is missing, and leaves clocks alone.
    expect(process.getuid?.()).not.toBe(0);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "omniq-clock-"));
  const file = join(folder, "clock");
  const shown = (): number =>
    Number(
      execFileSync(process.execPath, ["-p", "Date.now()"], {
        env: { ...process.env, ...clockEnvironment(library, file) },
      }),
    ) - Date.now();
  try {
    for (const offMs of [0, 3_600_000, -3_600_000]) {
      setClock(file, offMs);
      // Half an hour is far more than a start of Node takes.
      expect(Math.abs(shown() - offMs)).toBeLessThan(1_800_000);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
