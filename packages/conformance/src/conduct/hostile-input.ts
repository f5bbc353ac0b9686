// Cases of `hostile-input` for the task queue.
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkKey,
  commonPayloadBytes,
  isOmniQError,
  maxPriority,
  minPriority,
  type StoredTask,
  type TaskQueue,
} from "@omniq/core";
import type { Case } from "../suite.ts";
import { anyKey, anyText, hostileKeys, refusedKeys, textOfBytes } from "./hostile-text.ts";
import { enqueueAll, newTask, take } from "./new-task.ts";

const rule = "hostile-input";

/** All pages of one queue. */
async function listAll(queue: TaskQueue, name: string): Promise<StoredTask[]> {
  const items: StoredTask[] = [];
  let cursor: string | undefined;
  do {
    const page = await queue.list({ queue: name }, { limit: 50, ...(cursor === undefined ? {} : { cursor }) });
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== undefined);
  return items;
}

export const hostileTaskQueueCases: readonly Case<TaskQueue>[] = [
  {
    rule,
    title: "core refuses what no store keeps: empty, NUL, over 255 bytes, lone surrogates, no text",
    async run() {
      for (const key of refusedKeys) {
        assert.throws(
          () => checkKey("The id", key),
          (error) => isOmniQError(error, "OMNIQ_INVALID_OPTION"),
        );
      }
      for (const key of hostileKeys) checkKey("The id", key);
    },
  },
  {
    rule,
    title: "ids that look like something else, or like each other, are all different tasks",
    async run(queue) {
      const distinct = [...new Set(hostileKeys)];
      await enqueueAll(
        queue,
        distinct.map((id) => newTask(id)),
      );
      const found = await queue.get(distinct);
      distinct.forEach((id, i) => assert.equal(found[i]?.payload, `payload of ${id}`));
      assert.deepEqual(
        (await listAll(queue, "q")).map((task) => task.id),
        distinct,
      );
      assert.deepEqual(await queue.cancel(["%", "*"]), ["cancelled", "cancelled"]);
      assert.equal((await queue.get(["a"]))[0]?.state, "ready");
    },
  },
  {
    rule,
    title: "queue names that look like something else are all different queues, counted and reserved apart",
    async run(queue) {
      const names = [...new Set(hostileKeys)];
      await enqueueAll(
        queue,
        names.map((name, i) => newTask(`t-${i}`, { queue: name })),
      );
      const counts = await queue.counts(names);
      for (const name of names) {
        const own = Object.getOwnPropertyDescriptor(counts, name)?.value as { ready?: number } | undefined;
        assert.equal(own?.ready, 1, `counts of ${JSON.stringify(name)}`);
      }
      const all = await queue.counts();
      for (const name of names)
        assert.ok(Object.hasOwn(all, name), `${JSON.stringify(name)} is missing from all counts`);
      for (const [i, name] of names.entries()) {
        const leases = await take(queue, { queues: [name] });
        assert.deepEqual(
          leases.map((lease) => [lease.taskId, lease.queue]),
          [[`t-${i}`, name]],
        );
      }
    },
  },
  {
    rule,
    title: "pausing and purging a queue with a hostile name touches no other",
    async run(queue) {
      const names = ["%", "_", "*", "a", "A", "a ", "..", "__proto__"];
      await enqueueAll(
        queue,
        names.map((name, i) => newTask(`t-${i}`, { queue: name })),
      );
      await queue.pause("%");
      await queue.pause("__proto__");
      assert.equal(await queue.purge("*", ["ready"]), 1);
      const leases = await take(queue, { queues: names });
      assert.deepEqual(
        leases.map((lease) => lease.queue),
        ["_", "a", "A", "a ", ".."],
      );
    },
  },
  {
    rule,
    title: "any id, name, queue, worker, payload and envelope comes back as it was",
    timeoutMs: 60_000,
    async run(queue) {
      let round = 0;
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(fc.record({ id: anyKey, name: anyKey, payload: anyText, envelope: anyText }), {
            selector: (task) => task.id,
            minLength: 1,
            maxLength: 8,
          }),
          anyKey,
          anyKey,
          async (given, queueName, worker) => {
            round += 1;
            const tasks = given.map((task) => newTask(task.id, { ...task, queue: queueName, rememberMs: 0 }));
            const answers = await queue.enqueue([{ tasks }]);
            assert.equal(answers[0]?.state, "accepted", `round ${round}`);
            const check = (found: StoredTask | undefined, i: number): void => {
              const task = tasks[i];
              assert.deepEqual(
                [found?.id, found?.name, found?.queue, found?.payload, found?.envelope],
                [task?.id, task?.name, task?.queue, task?.payload, task?.envelope],
              );
            };
            (await queue.get(tasks.map((task) => task.id))).forEach(check);
            (await listAll(queue, queueName)).forEach(check);
            const leases = await take(queue, { queues: [queueName], worker });
            leases.map((lease) => lease.task).forEach(check);
            const states = await queue.settle(
              leases.map((lease) => ({ ...reference(lease), outcome: "completed", storeResult: false })),
            );
            assert.deepEqual(
              states,
              tasks.map(() => "settled"),
            );
          },
        ),
        { numRuns: 25 },
      );
    },
  },
  {
    rule,
    title: "deduplication keys that look alike hold only themselves",
    unless: (_world, queue) => (queue.capabilities.deduplication ? undefined : "no deduplication"),
    async run(queue) {
      const keys = [...new Set(hostileKeys)];
      await enqueueAll(
        queue,
        keys.map((key, i) => newTask(`t-${i}`, { deduplicate: { key, mode: "keep" } })),
      );
      const answers = await queue.enqueue(
        keys.map((key, i) => ({ tasks: [newTask(`u-${i}`, { deduplicate: { key, mode: "keep" } })] })),
      );
      answers.forEach((answer, i) =>
        assert.deepEqual(answer, { state: "accepted", receipts: [{ id: `t-${i}`, state: "deduplicated" }] }),
      );
    },
  },
  {
    rule,
    title: "group keys that look alike are groups apart",
    unless: (_world, queue) => (queue.capabilities.groups ? undefined : "no groups"),
    async run(queue) {
      const keys = [...new Set(hostileKeys)];
      await enqueueAll(
        queue,
        keys.flatMap((key, i) => [0, 1].map((n) => newTask(`t-${i}-${n}`, { group: { key, limit: 1 } }))),
      );
      const leased: string[] = [];
      for (let calls = 0; calls < keys.length + 5; calls += 1) {
        const leases = await take(queue, { limit: 10 });
        if (leases.length === 0) break;
        leased.push(...leases.map((lease) => lease.taskId));
      }
      assert.deepEqual(leased.sort(), keys.map((_, i) => `t-${i}-0`).sort());
    },
  },
  {
    rule,
    title: "dependencies by hostile ids, with hostile values, reach the dependent's lease",
    unless: (_world, queue) => (queue.capabilities.dependencies ? undefined : "no dependencies"),
    async run(queue) {
      const parents = ["%", "__proto__", "a,b", "\u{1f600}", "x".repeat(255)];
      const value = `${textOfBytes(500)}\u2028\ufeff`;
      await enqueueAll(
        queue,
        parents.map((id) => newTask(id, { priority: 1 })),
      );
      await enqueueAll(queue, [
        newTask("child", { dependencies: parents.map((taskId) => ({ taskId, onFailure: "fail" })) }),
      ]);
      const leases = await take(queue);
      assert.deepEqual(
        leases.map((lease) => lease.taskId),
        parents,
      );
      await queue.settle(
        leases.map((lease) => ({ ...reference(lease), outcome: "completed", storeResult: false, value })),
      );
      const [child] = await take(queue);
      assert.deepEqual(
        child?.dependencies.map((dependency) => [dependency.taskId, dependency.value]),
        parents.map((id) => [id, value]),
      );
    },
  },
  {
    rule,
    title: "payloads of exactly 512 KiB pass, through enqueue, get and lease",
    timeoutMs: 60_000,
    async run(queue) {
      assert.ok(queue.capabilities.maxPayloadBytes >= commonPayloadBytes);
      const payload = textOfBytes(commonPayloadBytes);
      assert.equal(Buffer.byteLength(payload), commonPayloadBytes);
      await enqueueAll(queue, [
        newTask("big", { payload }),
        newTask("small"),
        newTask("big-2", { payload: "x".repeat(commonPayloadBytes) }),
      ]);
      assert.ok((await queue.get(["big"]))[0]?.payload === payload, "get gave another payload");
      const leases = await take(queue);
      assert.deepEqual(
        leases.map((lease) => lease.taskId),
        ["big", "small", "big-2"],
      );
      assert.ok(leases[0]?.task.payload === payload, "the lease has another payload");
      assert.equal(leases[2]?.task.payload.length, commonPayloadBytes);
    },
  },
  {
    rule,
    title: "empty payload and envelope stay empty",
    async run(queue) {
      await enqueueAll(queue, [newTask("empty", { payload: "", envelope: "" })]);
      const [lease] = await take(queue);
      assert.deepEqual([lease?.task.payload, lease?.task.envelope], ["", ""]);
    },
  },
  {
    rule,
    title: "a call of maxBatch tasks (at most 1,000 tried) is taken whole and handed out in order",
    timeoutMs: 60_000,
    async run(queue) {
      const count = Math.min(queue.capabilities.maxBatch, 1_000);
      const tasks = Array.from({ length: count }, (_, i) => newTask(`t-${i}`));
      const [answer] = await queue.enqueue([{ tasks }]);
      assert.ok(answer?.state === "accepted");
      assert.equal(answer.receipts.length, count);
      const leases = await take(queue, { limit: count });
      assert.deepEqual(
        leases.map((lease) => lease.taskId),
        tasks.map((task) => task.id),
      );
      const states = await queue.settle(
        leases.map((lease) => ({ ...reference(lease), outcome: "completed", storeResult: false })),
      );
      assert.equal(states.filter((state) => state === "settled").length, count);
    },
  },
  {
    rule,
    title: "priorities at both limits are kept and sort at both ends",
    unless: (_world, queue) => (queue.capabilities.priorities ? undefined : "no priorities"),
    async run(queue) {
      const priorities = [0, minPriority, maxPriority, 1, -1];
      await enqueueAll(
        queue,
        priorities.map((priority) => newTask(`p${priority}`, { priority })),
      );
      const leases = await take(queue);
      assert.deepEqual(
        leases.map((lease) => lease.task.priority),
        [maxPriority, 1, 0, -1, minPriority],
      );
    },
  },
  {
    rule,
    title: "errors and progress of any text come back as they were",
    async run(queue) {
      const text = `${textOfBytes(2_000)}\u0001\u2028`;
      await enqueueAll(queue, [newTask("a")]);
      const [lease] = await take(queue);
      assert.ok(lease !== undefined);
      await queue.extend([{ ...reference(lease), progress: text }], 60_000);
      assert.equal((await queue.get(["a"]))[0]?.progress, text);
      await queue.settle([{ ...reference(lease), outcome: "failed", storeResult: false, error: text }]);
      assert.equal((await queue.get(["a"]))[0]?.error, text);
    },
  },
  {
    rule,
    title: "tokens and ids that nobody gave are lost, unknown or undefined, never an error",
    async run(queue) {
      await enqueueAll(queue, [newTask("a")]);
      for (const key of ["nobody", "__proto__", "%", "'"]) {
        const lease = { taskId: key, queue: "q", token: key, run: 1, attempt: 1 };
        assert.deepEqual(await queue.settle([{ ...lease, outcome: "release" }]), ["lost"]);
        assert.deepEqual(await queue.settle([{ ...lease, taskId: "a", outcome: "completed", storeResult: false }]), [
          "lost",
        ]);
        assert.deepEqual(await queue.extend([lease], 1_000), [{ state: "lost" }]);
        assert.deepEqual(await queue.get([key]), [undefined]);
        assert.deepEqual(await queue.cancel([key]), ["unknown"]);
        assert.deepEqual(await queue.retry([key]), ["unknown"]);
        assert.deepEqual(await queue.remove([key]), ["unknown"]);
        await queue.record([{ taskId: key, run: 1 }]);
      }
      assert.equal((await queue.get(["a"]))[0]?.state, "ready");
    },
  },
  {
    rule,
    title: "empty batches are answered empty by every verb",
    async run(queue) {
      assert.deepEqual(await queue.enqueue([]), []);
      assert.deepEqual(await queue.extend([], 60_000), []);
      assert.deepEqual(await queue.settle([]), []);
      assert.deepEqual(await queue.cancel([]), []);
      assert.deepEqual(await queue.get([]), []);
      assert.deepEqual(await queue.retry([]), []);
      assert.deepEqual(await queue.remove([]), []);
      await queue.record([]);
      assert.deepEqual(await queue.counts([]), {});
    },
  },
];

/** The part of a lease that settles it. */
function reference(lease: { taskId: string; queue: string; token: string; run: number; attempt: number }): {
  taskId: string;
  queue: string;
  token: string;
  run: number;
  attempt: number;
} {
  const { taskId, queue, token, run, attempt } = lease;
  return { taskId, queue, token, run, attempt };
}
