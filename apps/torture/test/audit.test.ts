// The auditor's checks of results, starts, counts and schedules find what they are there for, made on purpose on an in-memory queue.
import { OmniQ } from "@omniq/core";
import { memory } from "@omniq/memory";
import { afterEach, beforeEach, expect, test } from "vitest";
import { phoenix, work } from "../src/tasks.ts";
import { accepted, auditOf, lease, type Written } from "./journals.ts";

let omniq: OmniQ;
beforeEach(() => {
  omniq = new OmniQ({ taskQueue: memory() });
});
afterEach(() => omniq.close());

async function violations(lines: readonly Written[]): Promise<readonly string[]> {
  return (await auditOf(omniq, lines)).violations;
}
async function done(n: number): Promise<string> {
  const { id } = await omniq.enqueue(work, { n, ms: 0 });
  await omniq.worker({ tasks: [work], queues: ["torture"] }).drain();
  return id;
}

test("a clean run has no violations", async () => {
  const id = await done(2);
  expect(await violations([accepted(id, 0, 1, { output: 4 })])).toEqual([]);
});

test("a lost task, a wrong output and a wrong outcome are found", async () => {
  const id = await done(2);
  expect(await violations([accepted("gone", 0, 1)])).toEqual(["gone was accepted and has no result"]);
  expect(await violations([accepted(id, 0, 1, { output: 5 })])).toEqual([`${id} gave 4, not 5`]);
  expect(await violations([accepted(id, 0, 1, { code: "OMNIQ_LEASE_LOST" })])).toHaveLength(1);
});

test("a dead letter has the result of the run that it was retried for, and no other", async () => {
  const { id } = await omniq.enqueue(phoenix, { n: 2, ms: 0 });
  await omniq.worker({ tasks: [phoenix], queues: ["torture"] }).drain();
  const call = accepted(id, 0, 1, { output: 4, dies: true });
  const [asked, answered]: Written[] = [
    { kind: "retrying", task: id },
    { kind: "retried", task: id },
  ];
  expect(await violations([call])).toEqual([]);
  // Its producer died while it asked.
  expect(await violations([call, asked as Written])).toEqual([]);
  expect(await violations([call, asked as Written, answered as Written])).toEqual([`${id} has a result of run 1`]);
  // One that should not have died did.
  expect(await violations([accepted(id, 0, 1, { output: 4 })])).toHaveLength(1);
});

test("a task that completed though it was cancelled in time is found, and one that was leased afterwards", async () => {
  const id = await done(2);
  const call = accepted(id, 0, 1, { cancelled: true });
  const cancelled = (state: "cancelled" | "cancelling" | "finished", at: number): Written => ({
    kind: "cancelled",
    task: id,
    state,
    at,
  });
  expect(await violations([call])).toEqual([]);
  expect(await violations([call, cancelled("finished", 100)])).toEqual([]);
  expect(await violations([call, cancelled("cancelling", 50_000)])).toEqual([]);
  expect(await violations([call, cancelled("finished", 90), cancelled("cancelling", 100)])).toEqual([
    `${id} is completed, though its cancel was answered cancelling`,
  ]);
  const lines = [call, lease(id, 90), cancelled("cancelled", 50_000), lease(id, 50_300, { expiries: 1 })];
  expect(await violations(lines)).toEqual([`${id} was leased 300 ms after it was cancelled`]);
});

test("a result of a run that nobody asked for is found", async () => {
  await omniq.components.resultStorage?.put([
    { taskId: "a", run: 2, attempt: 1, name: "work", queue: "torture", status: "completed", value: "0", ttlMs: null },
  ]);
  expect(await violations([accepted("a", 0, 1)])).toEqual(["a has a result of run 2"]);
});

test("two results of one task are found", async () => {
  const id = await done(2);
  const storage = omniq.components.resultStorage;
  const list = storage?.list.bind(storage);
  if (storage === undefined || list === undefined) throw new Error("memory has a result storage");
  storage.list = async (filter, page) => {
    const { items } = await list(filter, page);
    return { items: [...items, ...items] };
  };
  expect(await violations([accepted(id, 0, 1, { output: 4 })])).toEqual([`2 results for ${id}`]);
});

test("dead letters that faults explain are counted, and many of them are found", async () => {
  let now = 1e12;
  const poisoned = memory({ now: () => now });
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
  const lines = handles.map(({ id }) => accepted(id, 0, 1));
  const few = await auditOf(omniq, lines.slice(0, 2));
  expect([few.unlucky, few.violations]).toEqual([2, []]);
  expect((await violations(lines))[0]).toMatch(/^5 tasks became dead letters, more than faults explain/);
});

test("an early start is found, but not where the store's clock was set forward", async () => {
  const lines: readonly Written[] = [{ kind: "start", task: "a", at: 1_000, since: 500, notBefore: 1_500 }];
  expect(await violations(lines)).toEqual(["a started 500 ms early"]);
  expect((await auditOf(omniq, lines, { toleranceMs: 600 })).violations).toEqual([]);
  expect((await auditOf(omniq, lines, { storeSteps: [{ at: 700, ms: 3_000 }] })).violations).toEqual([]);
});

test("a task that is still live is found, and counts that differ from lists", async () => {
  await omniq.enqueue(work, { n: 1, ms: 0 });
  expect(await violations([])).toEqual(["queue torture still has 1 ready"]);
  const { taskQueue } = omniq.components;
  const list = taskQueue.list.bind(taskQueue);
  taskQueue.list = async (filter, page) => ({ ...(await list(filter, page)), items: [] });
  expect(await violations([])).toContain("queue torture counts 1 ready and lists 0");
});

test("an outcome that nobody recorded is found", async () => {
  const { id } = await omniq.enqueue(work, { n: 1, ms: 0 });
  await omniq.components.taskQueue.cancel([id]);
  expect(await violations([])).toContain("queue torture has 1 unrecorded outcomes");
});

test("a schedule whose occurrences are not all there, or not one after the other, is found", async () => {
  await omniq.schedules.put("every-second", { everyMs: 1_000, task: work.with({ n: 1, ms: 0 }) });
  const audited = async (): Promise<readonly string[]> =>
    (await auditOf(omniq, [], {}, ["every-second", "unknown"])).violations;
  expect(await audited()).toContain("schedule unknown counts undefined runs and has 0 tasks with results");
  const at = (seconds: number): string => `schedule:every-second@${new Date(1e12 + seconds * 1_000).toISOString()}`;
  await omniq.components.resultStorage?.put(
    [at(0), at(1), at(3)].map((taskId) => ({
      taskId,
      run: 1,
      attempt: 1,
      name: "tick",
      queue: "torture",
      status: "completed" as const,
      ttlMs: null,
    })),
  );
  expect(await audited()).toContain("schedule every-second has a gap of 2000 ms between occurrences");
});
