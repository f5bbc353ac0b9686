// The client, a worker and schedules together over @omniq/memory, with a clock that the test sets.
import { test, expect } from "vitest";
import { memory } from "@omniq/memory";
import { OmniQ, allowFailure, defineTask, typeOnly } from "@omniq/core";
const add = defineTask({ name: "add", input: typeOnly<{ a: number }>(), run: ({ a }) => a + 1 });
const sum = defineTask({
  name: "sum",
  dependsOn: { x: add, ys: [add], bad: allowFailure(add) },
  run: (_, { dependencies: d }) => d.x + d.ys.reduce((s, y) => s + y, 0) + (d.bad.status === "completed" ? 100 : 0),
});
test("flow over memory", async () => {
  let now = 1e12;
  const omniq = new OmniQ({ taskQueue: memory({ now: () => now }) });
  const worker = omniq.worker({ tasks: [add, sum] });
  const first = await omniq.enqueue(add, { a: 1 });
  await worker.drain();
  expect(await first.result()).toBe(2);
  const h = await omniq.enqueue(sum, undefined, {
    dependsOn: { x: first, ys: [add.with({ a: 5 }), add.with({ a: 6 })], bad: add.with({ a: 1 }) },
  });
  await worker.drain();
  expect(await h.result()).toBe(2 + 6 + 7 + 100);
  await omniq.schedules.put("s", { everyMs: 1000, task: add.with({ a: 3 }) });
  now += 1000;
  expect(await omniq.scheduler().tick()).toBe(1);
  await worker.drain();
  expect(await omniq.handle(add, `schedule:s@${new Date(now).toISOString()}`).result()).toBe(4);
  const c = await omniq.enqueue(add, { a: 1 }, { delayMs: 1000 });
  expect(await c.cancel()).toBe("cancelled");
  await expect(c.result()).rejects.toMatchObject({ code: "OMNIQ_TASK_CANCELLED" });
  await omniq.close();
}, 15000);

test("events, deduplication and expiry over memory", async () => {
  let now = 1e12;
  const backend = memory({ now: () => now });
  const omniq = new OmniQ({ taskQueue: backend, eventStorage: backend });
  const fails = defineTask({
    name: "fails",
    retry: { maxAttempts: 1 },
    run: (): number => {
      throw new RangeError("no");
    },
  });
  const worker = omniq.worker({ tasks: [add, fails] });
  const first = await omniq.enqueue(add, { a: 1 }, { deduplicate: { key: "k" } });
  const second = await omniq.enqueue(add, { a: 2 }, { deduplicate: { key: "k" } });
  expect([second.id, second.deduplicated]).toEqual([first.id, true]);
  const failing = await omniq.enqueue(fails);
  await worker.drain();
  await expect(failing.result()).rejects.toMatchObject({ code: "OMNIQ_TASK_FAILED", cause: { name: "RangeError" } });
  const types: string[] = [];
  for await (const event of failing.events()) types.push(event.type);
  expect([types[0], types.at(-1)]).toEqual(["enqueued", "failed"]);
  expect(await omniq.tasks.retry([failing.id])).toEqual(["retried"]);
  const again = failing.outcome();
  await worker.drain();
  expect(await again).toMatchObject({ status: "failed" });
  const late = await omniq.enqueue(add, { a: 1 }, { expiresInMs: 10 });
  now += 11;
  await expect(omniq.handle(late.id).result()).rejects.toMatchObject({ code: "OMNIQ_TASK_EXPIRED" });
  const listed: string[] = [];
  for await (const task of omniq.tasks.list({ states: ["failed"] })) listed.push(task.id);
  expect(listed).toEqual([failing.id]);
  await omniq.close();
});

test("a dependency that was deduplicated gives its slot the holder's output", async () => {
  const omniq = new OmniQ({ taskQueue: memory() });
  const holder = await omniq.enqueue(add, { a: 1 }, { deduplicate: { key: "same" }, delayMs: 50 });
  const handle = await omniq.enqueue(sum, undefined, {
    dependsOn: {
      x: add.with({ a: 9 }, { deduplicate: { key: "same" } }),
      ys: [add.with({ a: 3 })],
      bad: add.with({ a: 0 }),
    },
  });
  const worker = omniq.worker({ tasks: [add, sum] });
  await worker.start();
  expect(await handle.result()).toBe(2 + 4 + 100);
  expect(await holder.result()).toBe(2);
  await omniq.close();
}, 15_000);
