// Cases with kill -9: of a producer, and of a worker right after each of its steps reserve, result, settle, event.
import assert from "node:assert/strict";
import type { Lease, TaskQueue } from "@omniq/core";
import { newTask } from "../conduct/new-task.ts";
import { settleDown, within } from "../conduct/waiting.ts";
import { queryAll } from "../event-storage/new-event.ts";
import type { Case, World } from "../suite.ts";
import type { HistoryRecord } from "./history.ts";
import type { CrashData, CrashStep } from "./programs/crash.ts";
import type { ProduceData } from "./programs/produce.ts";
import { unlessProcesses } from "./race-cases.ts";

interface Crashed {
  readonly first: { readonly taskId: string; readonly token: string; readonly run: number; readonly attempt: number };
  /** The lease that a survivor got, if any. */
  readonly again: Lease | undefined;
}

/** A worker process dies after `after`; then a survivor asks for longer than the lease and the pause together last. */
async function crashAfter(queue: TaskQueue, world: World, after: CrashStep): Promise<Crashed> {
  assert.ok(world.processes !== undefined);
  const leaseMs = Math.max(1_000, queue.capabilities.minimumLeaseMs);
  await queue.enqueue([{ tasks: [newTask("a")] }]);
  const program = await world.processes.start("crash", { queue: "q", leaseMs, after } satisfies CrashData);
  let first: Crashed["first"] | undefined;
  for await (const line of program.lines) first ??= line as Crashed["first"];
  assert.equal(await program.done, undefined, "the process was to be killed, but it came to its end");
  assert.ok(first !== undefined, "the process leased nothing");
  await world.clock.pass(leaseMs + 1_100);
  const leases = await within(
    queue.reserve({
      queues: ["q"],
      limit: 1,
      leaseMs: Math.max(60_000, leaseMs),
      waitMs: after === "reserve" || after === "result" ? 10_000 : 0,
      worker: "survivor",
    }),
    "the survivor's reserve",
    60_000,
  );
  return { first, again: leases[0] };
}

const common = { timeoutMs: 120_000, unless: unlessProcesses };

export const crashCases: readonly Case<TaskQueue>[] = [
  {
    ...common,
    rule: "lease-expiry-redelivers",
    title: "kill -9 after reserve: the task comes back with its attempt refunded, and the dead one's token is lost",
    async run(queue, world) {
      const { first, again } = await crashAfter(queue, world, "reserve");
      assert.ok(again !== undefined, "the task did not come back");
      assert.deepEqual([again.taskId, again.run, again.attempt, again.task.expiries], ["a", 1, 1, 1]);
      assert.notEqual(again.token, first.token);
      assert.deepEqual(await queue.settle([{ ...first, queue: "q", outcome: "completed", storeResult: false }]), [
        "lost",
      ]);
      assert.equal((await queue.get(["a"]))[0]?.state, "active");
    },
  },
  {
    ...common,
    rule: "result-first-wins",
    title: "kill -9 after the result: the task comes back, and the survivor finds the result that stands",
    unless: (world) =>
      unlessProcesses(world) ?? (world.backend.resultStorage === undefined ? "no result storage" : undefined),
    async run(queue, world) {
      const results = world.backend.resultStorage?.();
      const { again } = await crashAfter(queue, world, "result");
      assert.ok(again !== undefined, "the task did not come back");
      assert.ok(results !== undefined);
      assert.equal((await results.get(["a"]))[0]?.value, "from the one that died");
      const [stands] = await results.put([
        {
          taskId: "a",
          run: again.run,
          attempt: again.attempt,
          name: "n",
          queue: "q",
          status: "failed",
          error: "late",
          ttlMs: 60_000,
        },
      ]);
      assert.equal(stands?.value, "from the one that died");
      const { taskId, token, run, attempt } = again;
      assert.deepEqual(
        await queue.settle([{ taskId, queue: "q", token, run, attempt, outcome: "completed", storeResult: false }]),
        ["settled"],
      );
      assert.deepEqual(await queue.get(["a"]), [undefined]);
    },
  },
  {
    ...common,
    rule: "settle-fenced",
    title: "kill -9 after settle: the task stays over, and the same settlement from a survivor is still settled",
    async run(queue, world) {
      const { first, again } = await crashAfter(queue, world, "settle");
      assert.equal(again, undefined, "a settled task came back");
      assert.deepEqual(await queue.get(["a"]), [undefined]);
      const settlement = {
        ...first,
        queue: "q",
        outcome: "completed",
        storeResult: false,
        value: "from the one that died",
      } as const;
      assert.deepEqual(await queue.settle([settlement]), ["settled"]);
      const [answer] = await queue.enqueue([{ tasks: [newTask("a")] }]);
      assert.deepEqual(answer, { state: "accepted", receipts: [{ id: "a", state: "duplicate" }] });
    },
  },
  {
    ...common,
    rule: "event-order",
    title: "kill -9 after the event: it is there, once, and the task is over",
    unless: (world) =>
      unlessProcesses(world) ?? (world.backend.eventStorage === undefined ? "no event storage" : undefined),
    async run(queue, world) {
      const { again } = await crashAfter(queue, world, "event");
      assert.equal(again, undefined, "a settled task came back");
      const events = world.backend.eventStorage?.();
      assert.ok(events !== undefined);
      await events.append([
        {
          id: "a-completed",
          at: Date.now(),
          type: "completed",
          taskId: "a",
          taskName: "n",
          queue: "q",
          run: 1,
          attempt: 1,
        },
      ]);
      assert.deepEqual(
        (await queryAll(events, { taskId: "a" }, 10)).map((event) => event.id),
        ["a-completed"],
      );
    },
  },
  {
    ...common,
    rule: "enqueue-durable",
    title: "kill -9 of a producer in the middle: every task that it had a receipt for is there, and none twice",
    unless: (world, queue) => unlessProcesses(world) ?? (queue.capabilities.durable ? undefined : "not durable"),
    async run(queue, world) {
      assert.ok(world.processes !== undefined);
      const tasks = Array.from({ length: 200 }, (_, i) => newTask(`t-${i}`));
      const program = await world.processes.start("produce", {
        name: "p",
        tasks,
        lanes: 8,
        killAfter: 60,
      } satisfies ProduceData);
      const acknowledged: string[] = [];
      for await (const line of program.lines) {
        const record = line as Extract<HistoryRecord, { verb: "enqueue" }>;
        if (record.receipt === "enqueued") acknowledged.push(record.task.id);
      }
      await program.done;
      assert.ok(acknowledged.length >= 60, `only ${acknowledged.length} receipts came`);
      const found = await queue.get(acknowledged);
      assert.deepEqual(
        acknowledged.filter((_, i) => found[i] === undefined),
        [],
        "acknowledged tasks are gone",
      );
      const left = (await queue.list({}, { limit: 1_000 })).items.map((task) => task.id);
      assert.equal(new Set(left).size, left.length);
      assert.equal((await queue.counts(["q"]))["q"]?.ready, left.length);
    },
  },
  {
    ...common,
    rule: "lease-expiry-redelivers",
    title: "kill -9 of a consumer from outside while it holds several leases: all come back to a survivor",
    async run(queue, world) {
      assert.ok(world.processes !== undefined);
      const leaseMs = Math.max(1_000, queue.capabilities.minimumLeaseMs);
      await queue.enqueue([{ tasks: Array.from({ length: 5 }, (_, i) => newTask(`t-${i}`)) }]);
      const program = await world.processes.start("consume", {
        name: "victim",
        queues: ["q"],
        limit: 5,
        leaseMs,
        waitMs: 0,
        workMs: 600_000,
        releaseEvery: 0,
        retryEvery: 0,
      });
      for (let tries = 0; tries < 200 && (await queue.counts(["q"]))["q"]?.active !== 5; tries += 1)
        await settleDown(50);
      assert.equal((await queue.counts(["q"]))["q"]?.active, 5);
      program.kill();
      await program.done;
      await world.clock.pass(leaseMs + 1_100);
      const back = new Set<string>();
      for (let tries = 0; tries < 40 && back.size < 5; tries += 1) {
        for (const lease of await queue.reserve({
          queues: ["q"],
          limit: 5,
          leaseMs: Math.max(60_000, leaseMs),
          waitMs: 200,
          worker: "survivor",
        }))
          back.add(lease.taskId);
      }
      assert.equal(back.size, 5);
      assert.equal((await queue.counts(["q"]))["q"]?.active, 5);
    },
  },
];
