// Cases of `outage` that are the task queue's own: what was sent and not answered is sent again, and is one task and one settlement.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Lease, TaskQueue } from "@omniq/core";
import type { Case, World } from "../suite.ts";
import { enqueueAll, newTask, take } from "./new-task.ts";
import { untilBack } from "./outage.ts";
import { awaitedLater, within } from "./waiting.ts";

const rule = "outage";
const unless = (world: World): string | undefined =>
  world.outage === undefined ? "this adapter's test can not take the backend away" : undefined;

/** The backend goes away and comes back, a few times, while something is under way. */
async function whileAwayNowAndThen(world: World, work: () => Promise<void>): Promise<void> {
  const { outage } = world;
  assert.ok(outage !== undefined);
  let over = false;
  const working = awaitedLater(
    work().finally(() => {
      over = true;
    }),
  );
  for (let round = 0; round < 4 && !over; round++) {
    await sleep(100);
    await outage.stop();
    await sleep(200);
    await outage.start();
  }
  await within(working, "the work's end", 90_000);
}

export const outageWriteCases: readonly Case<TaskQueue>[] = [
  {
    rule,
    title: "an enqueue that is sent again under the same ids after an outage is one task, which is completed once",
    unless,
    timeoutMs: 120_000,
    async run(queue, world) {
      const sent: string[] = [];
      const ended: string[] = [];
      let produced = false;
      const produce = async (): Promise<void> => {
        for (let round = 0; round < 40; round++) {
          const tasks = Array.from({ length: 5 }, (_value, index) => newTask(`${round}-${index}`));
          sent.push(...tasks.map((task) => task.id));
          await Promise.all(
            tasks.map(async (task, index) => {
              const call = { tasks: [task], generatedIds: index % 2 === 0 };
              const [answer] = await untilBack(() => queue.enqueue([call]), `enqueue of ${task.id}`);
              assert.equal(answer?.state, "accepted");
              const receipt = answer?.state === "accepted" ? answer.receipts[0] : undefined;
              assert.equal(receipt?.id, task.id);
              assert.ok(receipt?.state === "enqueued" || receipt?.state === "duplicate", receipt?.state);
            }),
          );
          await sleep(10);
        }
        produced = true;
      };
      // What is completed before its enqueue is sent again must not run again. Leases that nobody got the answer of run out.
      const consume = async (): Promise<void> => {
        const leaseMs = Math.max(2_000, queue.capabilities.minimumLeaseMs);
        const most = Date.now() + 60_000;
        while ((!produced || ended.length < sent.length) && Date.now() < most) {
          const leases = await untilBack(() => take(queue, { limit: 100, leaseMs }), "reserve");
          const ends = leases.map(
            ({ taskId, queue: name, token, run, attempt }) =>
              ({ taskId, queue: name, token, run, attempt, outcome: "completed", storeResult: false }) as const,
          );
          const states = leases.length === 0 ? [] : await untilBack(() => queue.settle(ends), "settle");
          ended.push(...ends.filter((_end, index) => states[index] === "settled").map((end) => end.taskId));
          await sleep(10);
        }
      };
      await whileAwayNowAndThen(world, async () => void (await Promise.all([produce(), consume()])));
      assert.deepEqual(ended.sort(), sent.sort());
      assert.deepEqual((await untilBack(() => queue.list({}, {}), "reading")).items, []);
    },
  },
  {
    rule,
    title: "a settlement that is sent again after an outage is settled, and counts once",
    unless,
    timeoutMs: 120_000,
    async run(queue, world) {
      const ids = Array.from({ length: 60 }, (_value, index) => `t-${index}`);
      await enqueueAll(
        queue,
        ids.map((id) => newTask(id)),
      );
      const leases: Lease[] = [];
      while (leases.length < ids.length) leases.push(...(await take(queue, { limit: 100 })));
      await whileAwayNowAndThen(world, async () => {
        for (const { taskId, queue: name, token, run, attempt } of leases) {
          const lease = { taskId, queue: name, token, run, attempt };
          const retried = Number(taskId.slice(2)) % 2 === 0;
          const [state] = await untilBack(
            () =>
              queue.settle([
                retried
                  ? { ...lease, outcome: "retry", delayMs: 0, error: "{}" }
                  : { ...lease, outcome: "completed", storeResult: false },
              ]),
            `settling ${taskId}`,
          );
          assert.equal(state, "settled", taskId);
          await sleep(10);
        }
      });
      const left = await untilBack(() => queue.list({}, { limit: 1_000 }), "reading");
      assert.deepEqual(
        left.items.map((task) => [task.id, task.state, task.attempt]),
        ids.filter((_id, index) => index % 2 === 0).map((id) => [id, "ready", 1]),
      );
    },
  },
];
