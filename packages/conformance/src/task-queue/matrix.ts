// Every verb on a task in every state: what it answers, and that it changes nothing it should not.
import assert from "node:assert/strict";
import type { QueueCounts, TaskQueue } from "@omniq/core";
import type { Rule } from "../rules.ts";
import type { Case } from "../suite.ts";
import { type Bench, first, proves } from "./bench.ts";
import { type Situation, situations } from "./states.ts";

const isWaiting = (one: Situation): boolean =>
  one.state === "blocked" || one.state === "scheduled" || one.state === "ready";
const isDeadLetter = (one: Situation): boolean => one.state === "failed" && one.recorded;

/** What counts says when the task is alone in its queue. */
function expectedCounts(one: Situation): QueueCounts {
  const zero = { blocked: 0, scheduled: 0, ready: 0, active: 0, failed: 0, unrecorded: 0, paused: false };
  return { ...zero, ...Object.fromEntries(one.counted.map((name) => [name, 1])) };
}

/** The task is as it was, and so are the counts. */
async function unchanged(bench: Bench, id: string, one: Situation, act: () => Promise<void>): Promise<void> {
  const before = await bench.find(id);
  await act();
  assert.deepEqual(await bench.find(id), before, "the task is as it was");
  assert.deepEqual(await bench.counts(), expectedCounts(one), "the counts are as they were");
}

interface Verb {
  readonly rule: (one: Situation) => Rule;
  readonly title: (one: Situation) => string;
  readonly run: (bench: Bench, id: string, one: Situation) => Promise<void>;
}

const verbs: readonly Verb[] = [
  {
    rule: () => "inspect",
    title: (one) => `get shows a task that is ${one.name}`,
    run: async (bench, id, one) => {
      const task = await bench.find(id);
      assert.equal(task?.state, one.state);
      if (task === undefined) return;
      assert.equal(task.id, id);
      assert.equal(task.run, 1);
      assert.equal(task.cancelling, one.name === "active and cancelling");
      assert.equal(
        task.finishedAt !== undefined,
        ["failed", "cancelled", "expired"].includes(task.state),
        "finishedAt once it is over",
      );
    },
  },
  {
    rule: () => "inspect",
    title: (one) => `counts are exact for a task that is ${one.name}`,
    run: async (bench, _id, one) => assert.deepEqual(await bench.counts(), expectedCounts(one)),
  },
  {
    rule: () => "inspect",
    title: (one) => `list by state finds a task that is ${one.name} under its state alone`,
    run: async (bench, id, one) => {
      for (const state of ["blocked", "scheduled", "ready", "active", "failed", "cancelled", "expired"] as const) {
        const page = await bench.queue.list({ queue: "main", states: [state] }, {});
        assert.deepEqual(
          page.items.map((task) => task.id),
          state === one.state ? [id] : [],
          `listed as ${state}`,
        );
      }
    },
  },
  {
    rule: () => "cancel",
    title: (one) => `cancel of a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (isWaiting(one)) {
        assert.equal(await bench.cancel(id), "cancelled");
        assert.equal(await bench.state(id), "cancelled");
        assert.equal((await bench.outcome(id)).status, "cancelled");
        await bench.none();
      } else if (one.state === "active") {
        assert.equal(await bench.cancel(id), "cancelling");
        assert.equal((await bench.get(id)).cancelling, true);
      } else {
        await unchanged(bench, id, one, async () => assert.equal(await bench.cancel(id), "unknown"));
      }
    },
  },
  {
    rule: (one) => (one.state === "failed" ? "dead-letter" : one.recorded ? "inspect" : "outcome-recorded"),
    title: (one) => `remove of a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (isWaiting(one) || isDeadLetter(one)) {
        assert.equal(await bench.remove(id), "removed");
        assert.equal(await bench.state(id), "gone");
        assert.equal((await bench.queue.unrecorded(10)).length, 0, "without a result");
        await bench.none();
      } else {
        const answer = one.state !== undefined ? "busy" : one.name === "never seen" ? "unknown" : "freed";
        await unchanged(bench, id, one, async () => assert.equal(await bench.remove(id), answer));
      }
    },
  },
  {
    rule: () => "dead-letter",
    title: (one) => `retry of a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (isDeadLetter(one)) {
        assert.equal(await bench.retry(id), "retried");
        const lease = await bench.takeOne();
        assert.deepEqual([lease.taskId, lease.run, lease.attempt], [id, 2, 1]);
      } else if (one.name === "failed, unrecorded") {
        await unchanged(bench, id, one, async () => assert.equal(await bench.retry(id), "busy"));
      } else {
        await unchanged(bench, id, one, async () => {
          const answer = await bench.retry(id);
          // No dead letter, and yet unrecorded: the contract's words fit both answers.
          assert.ok(answer === "unknown" || (answer === "busy" && !one.recorded), `answered ${answer}`);
        });
      }
    },
  },
  {
    rule: (one) => (one.state === "failed" ? "dead-letter" : one.recorded ? "inspect" : "outcome-recorded"),
    title: (one) => `purge of a queue with a task that is ${one.name}`,
    run: async (bench, id, one) => {
      const gone = isWaiting(one) || isDeadLetter(one);
      const purge = (): Promise<number> => bench.queue.purge("main", ["blocked", "scheduled", "ready", "failed"]);
      if (!gone) return unchanged(bench, id, one, async () => assert.equal(await purge(), 0));
      const others = (["blocked", "scheduled", "ready", "failed"] as const).filter((state) => state !== one.state);
      assert.equal(await bench.queue.purge("main", others), 0, "other states are left alone");
      assert.equal(
        await bench.queue.purge("other", ["blocked", "scheduled", "ready", "failed"]),
        0,
        "other queues are left alone",
      );
      assert.equal(await bench.state(id), one.state);
      assert.equal(await purge(), 1);
      assert.equal(await bench.state(id), "gone");
    },
  },
  {
    rule: () => "settle-fenced",
    title: (one) => `settle with a foreign token on a task that is ${one.name}`,
    run: async (bench, id, one) => {
      const lease = { taskId: id, queue: "main", token: "not-the-token", run: 1, attempt: 1 };
      await unchanged(bench, id, one, async () => {
        assert.equal(await bench.settle({ ...lease, outcome: "completed", storeResult: false }), "lost");
        assert.equal(await bench.settle({ ...lease, outcome: "failed", storeResult: false, error: "{}" }), "lost");
        assert.equal(await bench.settle({ ...lease, outcome: "cancelled", storeResult: false }), "lost");
        assert.equal(await bench.settle({ ...lease, outcome: "retry", delayMs: 0, error: "{}" }), "lost");
        assert.equal(await bench.settle({ ...lease, outcome: "release" }), "lost");
      });
    },
  },
  {
    rule: () => "settle-fenced",
    title: (one) => `extend with a foreign token on a task that is ${one.name}`,
    run: async (bench, id, one) =>
      unchanged(bench, id, one, async () => {
        const lease = { taskId: id, queue: "main", token: "not-the-token", run: 1, attempt: 1, progress: "1" };
        assert.deepEqual(first(await bench.queue.extend([lease], 1_000)), { state: "lost" });
      }),
  },
  {
    rule: () => "enqueue-idempotent",
    title: (one) => `enqueue of the id of a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (one.name === "never seen") return assert.equal((await bench.receipt(bench.task({ id }))).state, "enqueued");
      await unchanged(bench, id, one, async () => {
        const again = bench.task({ id, payload: "another", priority: 5, queue: "main" });
        assert.deepEqual(await bench.receipt(again), { id, state: "duplicate" });
      });
    },
  },
  {
    rule: () => "outcome-recorded",
    title: (one) => `record of a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (one.recorded) return unchanged(bench, id, one, () => bench.record(id));
      assert.equal((await bench.outcome(id)).run, 1);
      await bench.queue.record([{ taskId: id, run: 2 }]);
      assert.equal((await bench.outcome(id)).run, 1, "the record of another run closes nothing");
      await bench.record(id);
      await bench.record(id);
      assert.equal(await bench.state(id), one.state === "failed" ? "failed" : "gone");
      assert.deepEqual(await bench.queue.unrecorded(10), []);
      assert.equal((await bench.counts()).unrecorded, 0);
    },
  },
  {
    rule: () => "lease-excludes",
    title: (one) => `reserve with a task that is ${one.name}`,
    run: async (bench, id, one) => {
      if (one.state !== "ready") return unchanged(bench, id, one, () => bench.none());
      assert.deepEqual(await bench.takenIds(10), [id]);
      await bench.none();
    },
  },
  {
    rule: () => "self-upkeep",
    title: (one) => `sweep with a task that is ${one.name}`,
    run: async (bench, id, one) =>
      unchanged(bench, id, one, async () => {
        assert.equal(typeof (await bench.queue.sweep(100)), "number");
      }),
  },
  {
    rule: () => "pause",
    title: (one) => `pause and resume with a task that is ${one.name}`,
    run: async (bench, id, one) => {
      const before = await bench.find(id);
      await bench.queue.pause("main");
      await bench.queue.pause("main");
      assert.deepEqual(await bench.find(id), before);
      assert.deepEqual(await bench.counts(), { ...expectedCounts(one), paused: true });
      await bench.none();
      await bench.queue.resume("main");
      await bench.queue.resume("main");
      assert.deepEqual(await bench.find(id), before);
      assert.deepEqual(await bench.takenIds(10), one.state === "ready" ? [id] : []);
    },
  },
];

/** State × verb. */
export const matrixCases: readonly Case<TaskQueue>[] = verbs.flatMap((verb) =>
  situations.map((one) =>
    proves(verb.rule(one), verb.title(one), async (bench) => verb.run(bench, await one.reach(bench), one), one.needs),
  ),
);
