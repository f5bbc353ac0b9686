// Cases of `dead-letter`: listed, retried, removed, and kept for as long as the queue's settings say.
import assert from "node:assert/strict";
import type { TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { proves, reference } from "./bench.ts";

/** Dead letters. */
export const deadLetterCases: readonly Case<TaskQueue>[] = [
  proves("dead-letter", "a failed task is listed with its error, time and attempt, and is not given", async (bench) => {
    const id = await bench.add();
    const lease = await bench.takeOne();
    await bench.fail(lease, "why");
    const [task] = (await bench.queue.list({ states: ["failed"] }, {})).items;
    assert.deepEqual([task?.id, task?.error, task?.attempt, task?.run], [id, "why", 1, 1]);
    assert.ok((task?.finishedAt ?? 0) >= (task?.startedAt ?? Infinity));
    await bench.none();
  }),
  ...[1, 2, 3].map((maxAttempts) =>
    proves(
      "dead-letter",
      `retry at attempt ${maxAttempts} of ${maxAttempts} makes an unrecorded dead letter with its error`,
      async (bench) => {
        const id = await bench.add({ maxAttempts });
        for (let attempt = 1; attempt <= maxAttempts; attempt++) {
          assert.equal((await bench.get(id)).state, "ready");
          await bench.retryLater(await bench.takeOne(), 0, `error ${attempt}`);
        }
        const task = await bench.get(id);
        assert.deepEqual([task.state, task.attempt, task.error], ["failed", maxAttempts, `error ${maxAttempts}`]);
        const outcome = await bench.outcome(id);
        assert.deepEqual(
          [outcome.status, outcome.error, outcome.attempt],
          ["failed", `error ${maxAttempts}`, maxAttempts],
        );
        await bench.none();
      },
    ),
  ),
  proves(
    "dead-letter",
    "a retried dead letter is a new run with attempts, expiries and start forgotten",
    async (bench) => {
      const id = await bench.addDeadLetter({ maxAttempts: 2 }, "why");
      assert.equal(await bench.retry(id), "retried");
      const task = await bench.get(id);
      assert.deepEqual(
        [task.state, task.run, task.attempt, task.expiries, task.startedAt, task.finishedAt],
        ["ready", 2, 0, 0, undefined, undefined],
      );
      const lease = await bench.takeOne();
      assert.deepEqual([lease.run, lease.attempt], [2, 1]);
      await bench.retryLater(lease, 0);
      assert.equal((await bench.takeOne()).attempt, 2, "it has all its attempts again");
    },
  ),
  proves("dead-letter", "each retry is one more run", async (bench) => {
    const id = await bench.addDeadLetter();
    for (const run of [2, 3, 4]) {
      assert.equal(await bench.retry(id), "retried");
      const lease = await bench.takeOne();
      assert.equal(lease.run, run);
      await bench.fail(lease);
    }
  }),
  proves("dead-letter", "a lease of an earlier run is lost", async (bench) => {
    const id = await bench.add();
    const old = await bench.takeOne();
    await bench.fail(old);
    await bench.retry(id);
    assert.equal(await bench.settle({ ...reference(old), outcome: "completed", storeResult: false }), "lost");
    assert.deepEqual(await bench.extend(old), { state: "lost" });
    assert.equal(await bench.state(id), "ready");
  }),
  proves("dead-letter", "an unrecorded dead letter can be retried and removed once it is recorded", async (bench) => {
    const id = await bench.add({ maxAttempts: 1 });
    await bench.retryLater(await bench.takeOne(), 0);
    assert.deepEqual([await bench.retry(id), await bench.remove(id)], ["busy", "busy"]);
    await bench.record(id);
    assert.equal(await bench.retry(id), "retried");
    await bench.fail(await bench.takeOne());
    assert.equal(await bench.remove(id), "removed");
  }),
  proves("dead-letter", "dead letters are kept without a time to live", async (bench) => {
    const id = await bench.addDeadLetter();
    await bench.pass(100);
    await bench.queue.sweep(100);
    assert.equal(await bench.state(id), "failed");
  }),
  proves("dead-letter", "purge removes the dead letters of its queue and no other task", async (bench) => {
    const dead = await bench.addDeadLetter();
    const ready = await bench.add();
    assert.equal(await bench.queue.purge("main", ["failed"]), 1);
    assert.deepEqual([await bench.state(dead), await bench.state(ready)], ["gone", "ready"]);
  }),
  proves("dead-letter", "many are retried in one call, in the order asked", async (bench) => {
    const ids = [await bench.addDeadLetter(), await bench.addDeadLetter(), await bench.addDeadLetter()];
    assert.deepEqual(await bench.queue.retry([...ids, "nobody"]), ["retried", "retried", "retried", "unknown"]);
    assert.equal((await bench.counts()).ready, 3);
  }),
];
