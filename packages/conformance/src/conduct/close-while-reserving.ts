// Cases of `close` that are the task queue's own: a wait that is closed or aborted takes nothing with it.
import assert from "node:assert/strict";
import type { TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { anotherConnection } from "./connections.ts";
import { enqueueAll, newTask, take } from "./new-task.ts";
import { settleDown, within } from "./waiting.ts";

const rule = "close";
const waiting = { queues: ["q"], limit: 10, leaseMs: 60_000, waitMs: 60_000, worker: "w" };

export const closeWhileReservingCases: readonly Case<TaskQueue>[] = [
  {
    rule,
    title: "a reserve that was closed while it waited takes nothing: the next task goes to another connection",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue");
      const closed = queue.reserve(waiting).then(
        () => undefined,
        () => undefined,
      );
      await settleDown();
      await queue.close();
      await within(closed, "the end of the wait");
      await enqueueAll(other, [newTask("a")]);
      assert.deepEqual(
        (await take(other)).map((lease) => lease.taskId),
        ["a"],
      );
    },
  },
  {
    rule,
    title: "a reserve that was aborted while it waited rejects with the reason and takes nothing",
    async run(queue) {
      const stop = new AbortController();
      const reason = new Error("shutdown");
      const aborted = queue.reserve(waiting, { signal: stop.signal });
      const outcome = aborted.then(
        () => "answered",
        (error: unknown) => error,
      );
      await settleDown();
      stop.abort(reason);
      assert.equal(await within(outcome, "the end of the wait"), reason);
      await enqueueAll(queue, [newTask("a")]);
      assert.deepEqual(
        (await take(queue)).map((lease) => lease.taskId),
        ["a"],
      );
    },
  },
  {
    rule,
    title: "leases that a closed connection holds stay held, and another connection can settle them",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue");
      await enqueueAll(queue, [newTask("a")]);
      const [lease] = await take(queue);
      assert.ok(lease !== undefined);
      await queue.close();
      assert.deepEqual(await take(other), []);
      const { taskId, queue: name, token, run, attempt } = lease;
      assert.deepEqual(
        await other.settle([{ taskId, queue: name, token, run, attempt, outcome: "completed", storeResult: false }]),
        ["settled"],
      );
    },
  },
];
