// The auditor finds what it is there for: each kind of violation, made on purpose on an in-memory queue.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";
import { afterEach, beforeEach, expect, test } from "vitest";
import { audit, type Fault } from "../src/audit.ts";
import type { Line } from "../src/journal.ts";
import { planFaults } from "../src/faults.ts";
import { seeded } from "../src/random.ts";
import { work } from "../src/tasks.ts";

let omniq: OmniQ;
let folder: string;
beforeEach(() => {
  omniq = new OmniQ({ taskQueue: memory() });
  folder = mkdtempSync(join(tmpdir(), "omniq-audit-"));
});
afterEach(async () => {
  await omniq.close();
  rmSync(folder, { recursive: true, force: true });
});
type Noted = Line & { readonly pid?: number };
function write(lines: readonly Noted[]): void {
  writeFileSync(join(folder, "one.jsonl"), lines.map((line) => `${JSON.stringify({ pid: 1, ...line })}\n`).join(""));
}
async function violations(lines: readonly Noted[], faults: readonly Fault[] = []): Promise<readonly string[]> {
  write(lines);
  return (await audit(omniq, folder, faults, [])).violations;
}
async function done(n: number): Promise<string> {
  const { id } = await omniq.enqueue(work, { n, ms: 0 });
  await omniq.worker({ tasks: [work], queues: ["torture"] }).drain();
  return id;
}

test("a clean run has no violations", async () => {
  const id = await done(2);
  expect(await violations([{ kind: "accepted", task: id, expect: { output: 4 } }])).toEqual([]);
});

test("a lost task, a wrong output and a wrong outcome are found", async () => {
  const id = await done(2);
  expect(await violations([{ kind: "accepted", task: "gone", expect: { output: 1 } }])).toEqual([
    "gone was accepted and has no result",
  ]);
  expect(await violations([{ kind: "accepted", task: id, expect: { output: 5 } }])).toEqual([`${id} gave 4, not 5`]);
  expect(await violations([{ kind: "accepted", task: id, expect: { code: "OMNIQ_LEASE_LOST" } }])).toHaveLength(1);
});

test("dead letters that faults explain are counted, and many of them are found", async () => {
  const poisoned = memory({ now: () => now });
  let now = 1e12;
  await omniq.close();
  omniq = new OmniQ({ taskQueue: poisoned });
  const handles = await omniq.enqueueMany(Array.from({ length: 5 }, (_, n) => work.with({ n, ms: 0 })));
  for (let round = 0; round < 3; round++) {
    await poisoned.taskQueue().reserve({ queues: ["torture"], limit: 10, leaseMs: 100, waitMs: 0, worker: "dies" });
    now += 10_000;
    await poisoned.taskQueue().sweep(100);
    now += 10_000;
  }
  await omniq.scheduler().tick();
  const lines = handles.map(({ id }): Noted => ({ kind: "accepted", task: id, expect: { output: 0 } }));
  write(lines.slice(0, 2));
  const few = await audit(omniq, folder, [], []);
  expect([few.unlucky, few.violations]).toEqual([2, []]);
  expect((await violations(lines))[0]).toMatch(/^5 tasks became dead letters, more than faults explain/);
});

test("an early start is found", async () => {
  expect(await violations([{ kind: "start", task: "a", at: 1_000, notBefore: 1_500 }])).toEqual([
    "a started 500 ms early",
  ]);
});

test("overlaps inside a group are found, but not those of a process that suffered a fault", async () => {
  const lines: Noted[] = [
    { kind: "end", task: "a", at: 200, started: 100, group: "g" },
    { kind: "end", task: "b", at: 300, started: 150, group: "g", pid: 2 },
  ];
  expect(await violations(lines)).toEqual(["a and b of group g overlapped by 50 ms"]);
  expect(await violations(lines, [{ pid: 1, from: 90, to: 210 }])).toEqual([]);
});

test("a task that is still live is found", async () => {
  await omniq.enqueue(work, { n: 1, ms: 0 });
  expect(await violations([])).toEqual(["queue torture still has 1 ready"]);
});

test("a schedule whose occurrences are not all there is found", async () => {
  await omniq.schedules.put("every-second", { everyMs: 1_000, task: work.with({ n: 1, ms: 0 }) });
  await omniq.schedules.runNow("every-second");
  write([]);
  const { violations: found } = await audit(omniq, folder, [], ["every-second", "unknown"]);
  expect(found).toContain("schedule unknown counts undefined runs and has 0 tasks with results");
});

test("two leases at a time are found, but not one after the end of another", async () => {
  const lease = { kind: "lease", task: "a", expiries: 0 } as const;
  const one = { ...lease, token: "one", from: 1_000, deadline: 4_000 };
  const two = { ...lease, token: "two", from: 3_500, deadline: 6_500 };
  expect(await violations([one, two])).toEqual(["a had two leases at a time for 500 ms"]);
  expect(await violations([one, { ...two, from: 4_000 }])).toEqual([]);
  expect(await violations([one, { kind: "settle", task: "a", token: "one" }, two])).toEqual([]);
});

test("a task of a group that is leased out of order is found, but not after a lease that nobody knows", async () => {
  const [first, second] = [await done(1), await done(2)];
  const accepted: Noted[] = [
    { kind: "accepted", task: first, expect: { output: 2 } },
    { kind: "accepted", task: second, expect: { output: 4 } },
  ];
  const lease = { kind: "lease", group: "g" } as const;
  const late = { ...lease, task: first, token: "one", from: 2_000, deadline: 5_000 };
  const early = { ...lease, task: second, token: "two", from: 1_000, deadline: 4_000, expiries: 0 };
  expect(await violations([...accepted, { ...late, expiries: 0 }, early])).toEqual([
    `${second} of group g was leased before ${first}, which was enqueued first`,
  ]);
  expect(await violations([...accepted, { ...late, expiries: 1 }, early])).toEqual([]);
});

test("the same seed gives the same plan of faults, and only where there are servers do faults hit them", () => {
  const plan = planFaults(7, 600_000, 650, 6, 2);
  expect(planFaults(7, 600_000, 650, 6, 2)).toEqual(plan);
  expect(planFaults(8, 600_000, 650, 6, 2)).not.toEqual(plan);
  expect(new Set(plan.map((fault) => fault.kind))).toEqual(new Set(["kill", "suspend", "restart", "cut"]));
  expect(new Set(planFaults(7, 600_000, 650, 6, 0).map((fault) => fault.kind))).toEqual(new Set(["kill", "suspend"]));
});

test("the same seed gives the same numbers", () => {
  const [one, two, three] = [seeded(7), seeded(7), seeded(8)].map((random) => Array.from({ length: 5 }, random));
  expect(one).toEqual(two);
  expect(one).not.toEqual(three);
  for (const number of one ?? []) expect(number >= 0 && number < 1).toBe(true);
});
