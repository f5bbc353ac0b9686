// The quick way of calls without options: the same tasks, the same order, the same refusals as by the long way.
import { afterEach, expect, test } from "vitest";
import { memory } from "@omniq/memory";
import { defineTask, OmniQ, typeOnly, type StandardSchemaV1 } from "@omniq/core";

const clients: OmniQ[] = [];
afterEach(() => Promise.all(clients.splice(0).map((client) => client.close())));
function open(options: Partial<ConstructorParameters<typeof OmniQ>[0]> = {}): OmniQ {
  const client = new OmniQ({ taskQueue: memory(), ...options });
  clients.push(client);
  return client;
}
const schema = (validate: (value: unknown) => unknown): StandardSchemaV1<number> =>
  ({ "~standard": { version: 1, vendor: "test", validate } }) as StandardSchemaV1<number>;

test("calls made side by side are enqueued in their order, with options or without", async () => {
  const note = defineTask({ name: "note", input: typeOnly<number>(), run: () => undefined });
  const omniq = open();
  await omniq.enqueue(note, 0);
  await Promise.all([
    omniq.enqueue(note, 1, { headers: { a: "b" } }),
    omniq.enqueue(note, 2),
    omniq.enqueueMany([note.with(3), note.with(4)]),
    omniq.enqueue(note, 5),
    omniq.enqueue(note, 6, { id: "six" }),
  ]);
  const { items } = await omniq.components.taskQueue.list({}, { limit: 10 });
  expect(items.map((task) => task.payload)).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
});

test("definitions and defaults decide as by the long way", async () => {
  const task = defineTask({ name: "t", queue: "own", priority: 3, retry: { maxAttempts: 2 }, headers: { of: "task" } });
  const omniq = open({ defaults: { resultTtlMs: 5_000, headers: { by: "client" } } });
  await omniq.enqueue(task);
  const [quick, long] = [await omniq.enqueue(task), await omniq.enqueue(task, undefined, { timeoutMs: 3_600_000 })];
  const { taskQueue } = omniq.components;
  const [one, other] = await taskQueue.get([quick.id, long.id]);
  expect({ ...one, id: "", enqueuedAt: 0, runAt: 0 }).toEqual({ ...other, id: "", enqueuedAt: 0, runAt: 0 });
  expect(one).toMatchObject({ queue: "own", priority: 3, maxAttempts: 2, resultTtlMs: 5_000 });
});

test("a refused input rejects, whether its schema answers at once or later", async () => {
  const now = schema((value) => (typeof value === "number" ? { value } : { issues: [{ message: "no" }] }));
  const later = schema(async (value) => (typeof value === "number" ? { value } : { issues: [{ message: "no" }] }));
  const omniq = open();
  for (const input of [now, later]) {
    const task = defineTask({ name: "t", input, run: () => undefined });
    await omniq.enqueue(task, 1);
    await expect(omniq.enqueue(task, "one" as never)).rejects.toMatchObject({ code: "OMNIQ_INVALID_INPUT" });
    await expect(omniq.enqueueMany([task.with(1), task.with("two" as never)])).rejects.toMatchObject({
      code: "OMNIQ_INVALID_INPUT",
    });
    expect(await omniq.enqueueMany([task.with(1), task.with(2)])).toHaveLength(2);
  }
  const task = defineTask({ name: "t", input: typeOnly<unknown>(), run: () => undefined });
  await expect(omniq.enqueue(task, () => 1)).rejects.toMatchObject({ code: "OMNIQ_SERIALIZATION_FAILED" });
  expect((await omniq.queue("default").counts()).ready).toBe(6);
  await omniq.close();
  await expect(omniq.enqueue(task, 1)).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
});

test("where one call of several is refused at once, the later refusal of another is not left unhandled", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  const issues = [{ message: "no" }];
  const later = defineTask({ name: "later", input: schema(async () => ({ issues })), run: () => undefined });
  const now = defineTask({ name: "now", input: schema(() => ({ issues })), run: () => undefined });
  const omniq = open();
  const refused = { code: "OMNIQ_INVALID_INPUT", message: expect.stringContaining('"now"') };
  await expect(omniq.enqueueMany([later.with(1), now.with(2)])).rejects.toMatchObject(refused);
  // With options calls go the long way.
  const headers = { a: "b" };
  await expect(omniq.enqueueMany([later.with(1, { headers }), now.with(2)])).rejects.toMatchObject(refused);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
});
