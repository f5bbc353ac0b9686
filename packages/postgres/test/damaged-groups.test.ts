// Tasks whose stored numbers are damaged keep neither the slot of their group nor the place of its next task.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { completed, newSchema, open, task } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const request = { queues: ["q"], limit: 10, leaseMs: 600_000, waitMs: 0, worker: "w" };
const late = "9223372036854775807";

const damages: readonly (readonly [string, string])[] = [
  ["of the one that waits a lane that is none", "SET lane = 99 WHERE id = 'waits'"],
  ["of the next one a lane that is none", "SET lane = -1, state = 2 WHERE id = 'waits'"],
  ["of the active one a deadline that never comes", `SET deadline = ${late} WHERE id = 'active'`],
  ["of the active one a state in which it waits for what never comes", "SET state = 0 WHERE id = 'active'"],
  ["of the active one a time that never comes", `SET state = 1, run_at = ${late} WHERE id = 'active'`],
  ["of the active one a state in which it is held back", "SET state = 3 WHERE id = 'active'"],
  ["of the active one a state in which it is over", "SET state = 6 WHERE id = 'active'"],
];

test.each(damages)("a group goes on whatever is damaged: %s", async (_what, damage) => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 2 }).taskQueue();
  const group = { group: { key: "g", limit: 1 } };
  await queue.enqueue([{ tasks: ["active", "waits"].map((id) => task(id, group)) }]);
  const first = await queue.reserve(request);
  expect(first.map((lease) => lease.taskId)).toEqual(["active"]);
  await queue.enqueue([{ tasks: ["b", "c"].map((id) => task(id, group)) }]);
  await connected((client) => client.query(`UPDATE ${schema}.tasks ${damage}`));
  // Whose lease is whole is done by its worker; the other's is damaged.
  if (damage.includes("waits")) await queue.settle(first.map((lease) => completed(lease)));
  const left = new Set(["b", "c"]);
  const until = Date.now() + 5_000;
  while (left.size > 0 && Date.now() < until) {
    const taken = await queue.reserve(request);
    await queue.settle(taken.map((lease) => completed(lease)));
    for (const { taskId } of taken) left.delete(taskId);
    if (taken.length > 0) continue;
    await queue.sweep(100);
    await sleep(5);
  }
  expect([...left]).toEqual([]);
});
