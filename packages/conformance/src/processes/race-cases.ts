// Cases with racing processes: every call is recorded, and the history checker judges the whole.
import assert from "node:assert/strict";
import type { NewTask, TaskQueue } from "@omniq/core";
import { newTask } from "../conduct/new-task.ts";
import { awaitedLater, within } from "../conduct/waiting.ts";
import type { Rule } from "../rules.ts";
import type { Case, Processes, World } from "../suite.ts";
import { newEvent, queryAll } from "../event-storage/new-event.ts";
import { newResult } from "../result-storage/new-result.ts";
import { newSchedule } from "../schedule-storage/new-schedule.ts";
import { checkHistory, type CheckOptions } from "./check-history.ts";
import type { HistoryRecord } from "./history.ts";
import type { ConsumeData } from "./programs/consume.ts";
import type { ProduceData } from "./programs/produce.ts";

/** The `unless` of all process cases. */
export const unlessProcesses = (world: World): string | undefined =>
  world.processes === undefined ? "its reach is this process" : undefined;

function processesOf(world: World): Processes {
  assert.ok(world.processes !== undefined);
  return world.processes;
}

interface Race {
  readonly tasks: readonly NewTask[];
  readonly consumers: number;
  /** How many processes enqueue, each an equal part; 0: the tasks are there before the consumers start. */
  readonly producers: number;
  readonly consume?: Partial<ConsumeData> | undefined;
  readonly check?: CheckOptions | undefined;
}

/** Runs the race and returns its whole history, which has no violation. */
async function race(queue: TaskQueue, world: World, given: Race): Promise<HistoryRecord[]> {
  const processes = processesOf(world);
  const records: HistoryRecord[] = [];
  const produce = async (name: string, tasks: readonly NewTask[]): Promise<void> => {
    const data: ProduceData = { name, tasks, lanes: 4 };
    const program = await processes.start("produce", data);
    for await (const line of program.lines) records.push(line as HistoryRecord);
    assert.equal(await program.done, tasks.length);
  };
  const parts = Array.from({ length: Math.max(1, given.producers) }, (_, p) =>
    given.tasks.filter((_, i) => i % Math.max(1, given.producers) === p),
  );
  const producing = awaitedLater(Promise.all(parts.map((part, p) => produce(`producer-${p}`, part))));
  if (given.producers === 0) await producing;
  const leaseMs = Math.max(60_000, queue.capabilities.minimumLeaseMs);
  const consuming = awaitedLater(
    Array.from({ length: given.consumers }, async (_, c) => {
      const data: ConsumeData = {
        name: `consumer-${c}`,
        queues: ["q"],
        limit: 4,
        leaseMs,
        waitMs: 2_500,
        workMs: 0,
        releaseEvery: 0,
        retryEvery: 0,
        ...given.consume,
      };
      return (await processes.run("consume", data)) as HistoryRecord[];
    }),
  );
  await within(producing, "the producers' end", 90_000);
  for (const own of await within(Promise.all(consuming), "the consumers' end", 90_000)) records.push(...own);
  const now = Date.now();
  const left = (await queue.list({}, { limit: 1_000 })).items.map((task) => task.id);
  records.push({ process: "parent", sentAt: now, answeredAt: now, verb: "remaining", taskIds: left });
  assert.deepEqual(checkHistory(records, given.check), []);
  return records;
}

/** How often each task was completed, as the settlements say. */
function completions(records: readonly HistoryRecord[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const record of records) {
    if (record.verb === "settle" && record.outcome === "completed" && record.state === "settled")
      counts.set(record.taskId, (counts.get(record.taskId) ?? 0) + 1);
  }
  return counts;
}

function raceCase(
  rule: Rule,
  title: string,
  run: (queue: TaskQueue, world: World) => Promise<void>,
  needs?: (queue: TaskQueue, world: World) => string | undefined,
): Case<TaskQueue> {
  return {
    rule,
    title,
    timeoutMs: 120_000,
    unless: (world, queue) => unlessProcesses(world) ?? needs?.(queue, world),
    run,
  };
}

const tasks = (count: number, given: (i: number) => Partial<NewTask> = () => ({})): NewTask[] =>
  Array.from({ length: count }, (_, i) => newTask(`t-${i}`, given(i)));

export const raceCases: readonly Case<TaskQueue>[] = [
  raceCase(
    "lease-excludes",
    "three consumer processes share 150 waiting tasks: each is leased by exactly one",
    async (queue, world) => {
      const records = await race(queue, world, { tasks: tasks(150), consumers: 3, producers: 0 });
      const leased = records.flatMap((record) =>
        record.verb === "reserve" ? record.leases.map((lease) => lease.taskId) : [],
      );
      assert.equal(leased.length, 150);
      assert.equal(new Set(leased).size, 150);
      assert.equal((await queue.counts(["q"]))["q"]?.active, 0);
    },
  ),
  raceCase(
    "enqueue-atomic",
    "two producer and two consumer processes at once: all that was accepted is completed once",
    async (queue, world) => {
      const records = await race(queue, world, { tasks: tasks(120), consumers: 2, producers: 2 });
      assert.deepEqual(
        [...completions(records).values()],
        Array.from({ length: 120 }, () => 1),
      );
    },
  ),
  raceCase(
    "release-refunds",
    "consumers that release and retry: attempts are charged as said, and all ends completed",
    async (queue, world) => {
      const records = await race(queue, world, {
        tasks: tasks(60, () => ({ maxAttempts: 10 })),
        consumers: 2,
        producers: 1,
        consume: { releaseEvery: 5, retryEvery: 7, limit: 2 },
      });
      assert.equal(completions(records).size, 60);
    },
  ),
  raceCase(
    "enqueue-idempotent",
    "the same ids from three processes at once are stored once each",
    async (queue, world) => {
      const processes = processesOf(world);
      const data = (name: string): ProduceData => ({ name, tasks: tasks(40), lanes: 4 });
      const programs = await Promise.all(["a", "b", "c"].map((name) => processes.start("produce", data(name))));
      const records: HistoryRecord[] = [];
      await Promise.all(
        programs.map(async (program) => {
          for await (const line of program.lines) records.push(line as HistoryRecord);
          await program.done;
        }),
      );
      assert.deepEqual(checkHistory(records), []);
      assert.equal(records.filter((record) => record.verb === "enqueue" && record.receipt === "enqueued").length, 40);
      assert.equal(records.filter((record) => record.verb === "enqueue" && record.receipt === "duplicate").length, 80);
      assert.equal((await queue.counts(["q"]))["q"]?.ready, 40);
    },
  ),
  raceCase(
    "deduplicate",
    "one key from three processes at once lets one task in",
    async (queue, world) => {
      const processes = processesOf(world);
      const receipts: string[] = [];
      await Promise.all(
        ["a", "b", "c"].map(async (name) => {
          const own = Array.from({ length: 10 }, (_, i) =>
            newTask(`${name}-${i}`, { deduplicate: { key: `key-${i}`, mode: "keep" } }),
          );
          const program = await processes.start("produce", { name, tasks: own, lanes: 2 } satisfies ProduceData);
          for await (const line of program.lines)
            receipts.push((line as Extract<HistoryRecord, { verb: "enqueue" }>).receipt);
          await program.done;
        }),
      );
      assert.equal(receipts.filter((receipt) => receipt === "enqueued").length, 10);
      assert.equal(receipts.filter((receipt) => receipt === "deduplicated").length, 20);
      assert.equal((await queue.counts(["q"]))["q"]?.ready, 10);
    },
    (queue) => (queue.capabilities.deduplication ? undefined : "no deduplication"),
  ),
  raceCase(
    "group-limit",
    "groups of limit 1 and 2 over three consumer processes: never more than that at once",
    async (queue, world) => {
      await race(queue, world, {
        tasks: tasks(40, (i) => ({ group: { key: `g-${i % 4}`, limit: 1 + (i % 2) } })),
        consumers: 3,
        producers: 0,
        consume: { workMs: 5 },
      });
    },
    (queue) => (queue.capabilities.groups ? undefined : "no groups"),
  ),
  raceCase(
    "queue-limit",
    "three consumer processes together hold at most maxActive",
    async (queue, world) => {
      await queue.configureQueue("q", { maxActive: 3 });
      await race(queue, world, {
        tasks: tasks(40),
        consumers: 3,
        producers: 0,
        consume: { workMs: 5 },
        check: { maxActive: { q: 3 } },
      });
    },
    (queue) => (queue.capabilities.queueLimits ? undefined : "no queue limits"),
  ),
  raceCase(
    "dependencies",
    "chains over three consumer processes: nothing starts before what it depends on has completed",
    async (queue, world) => {
      const chains = tasks(40, (i) => (i < 10 ? {} : { dependencies: [{ taskId: `t-${i - 10}`, onFailure: "fail" }] }));
      await queue.enqueue([{ tasks: [newTask("unrelated", { queue: "other" })] }]);
      const [answer] = await queue.enqueue([{ tasks: chains }]);
      assert.equal(answer?.state, "accepted");
      const processes = processesOf(world);
      const data = (name: string): ConsumeData => ({
        name,
        queues: ["q"],
        limit: 3,
        leaseMs: Math.max(60_000, queue.capabilities.minimumLeaseMs),
        waitMs: 2_500,
        workMs: 1,
        releaseEvery: 0,
        retryEvery: 0,
      });
      const now = Date.now();
      const records: HistoryRecord[] = chains.map((task) => ({
        process: "parent",
        sentAt: now,
        answeredAt: now,
        verb: "enqueue",
        task,
        receipt: "enqueued",
      }));
      for (const own of await Promise.all(["a", "b", "c"].map((name) => processes.run("consume", data(name)))))
        records.push(...(own as HistoryRecord[]));
      assert.deepEqual(checkHistory(records), []);
      assert.equal(completions(records).size, 40);
    },
    (queue) => (queue.capabilities.dependencies ? undefined : "no dependencies"),
  ),
  raceCase("wake-up", "a consumer process that waits is woken by an enqueue of this one", async (queue, world) => {
    const data: ConsumeData = {
      name: "idle",
      queues: ["q"],
      limit: 1,
      leaseMs: Math.max(60_000, queue.capabilities.minimumLeaseMs),
      waitMs: 8_000,
      workMs: 0,
      releaseEvery: 0,
      retryEvery: 0,
    };
    const program = await processesOf(world).start("consume", data);
    for await (const line of program.lines) if (line === "ready") break;
    await new Promise((resolve) => setTimeout(resolve, 300));
    await queue.enqueue([{ tasks: [newTask("a")] }]);
    const records = (await within(program.done, "the consumer's end", 60_000)) as HistoryRecord[];
    const first = records[0];
    assert.ok(first?.verb === "reserve");
    assert.deepEqual(
      first.leases.map((lease) => lease.taskId),
      ["a"],
      "the first reserve waited its time out and missed the task",
    );
  }),
  raceCase(
    "result-first-wins",
    "of puts from three processes one stands, and all are told the same",
    async (_queue, world) => {
      const results = world.backend.resultStorage?.();
      assert.ok(results !== undefined);
      const puts = (name: string) => Array.from({ length: 20 }, (_, i) => newResult(`r-${i}`, { value: name }));
      const answers = (await Promise.all(
        ["a", "b", "c"].map((name) => processesOf(world).run("storages", { puts: puts(name) })),
      )) as {
        stands: { taskId: string; value: string }[];
      }[];
      const stored = await results.get(puts("a").map((result) => result.taskId));
      for (const { stands } of answers)
        assert.deepEqual(
          stands.map((result) => result.value),
          stored.map((result) => result?.value),
        );
    },
    (_queue, world) => (world.backend.resultStorage === undefined ? "no resultStorage" : undefined),
  ),
  raceCase(
    "event-order",
    "events of three processes at once are all there, each task's in order",
    async (_queue, world) => {
      const events = world.backend.eventStorage?.();
      assert.ok(events !== undefined);
      const appends = (name: string) =>
        Array.from({ length: 15 }, (_, i) => [
          newEvent(`${name}-${i}-0`, { taskId: name }),
          newEvent(`${name}-${i}-1`, { taskId: name }),
        ]);
      await Promise.all(["a", "b", "c"].map((name) => processesOf(world).run("storages", { appends: appends(name) })));
      for (const name of ["a", "b", "c"]) {
        assert.deepEqual(
          (await queryAll(events, { taskId: name }, 10)).map((event) => event.id),
          appends(name)
            .flat()
            .map((event) => event.id),
        );
      }
    },
    (_queue, world) => (world.backend.eventStorage === undefined ? "no eventStorage" : undefined),
  ),
  raceCase(
    "schedule-once",
    "three processes that advance one schedule advance over each occurrence once",
    async (_queue, world) => {
      const schedules = world.backend.scheduleStorage?.();
      assert.ok(schedules !== undefined);
      await schedules.put(newSchedule("s", { nextAt: 1 }), null);
      const answers = (await Promise.all(
        ["a", "b", "c"].map(() => processesOf(world).run("storages", { advance: { id: "s", runs: 60 } })),
      )) as { advanced: number[] }[];
      assert.deepEqual(
        answers.flatMap((answer) => answer.advanced).sort((a, b) => a - b),
        [...Array(60).keys()],
      );
    },
    (_queue, world) => (world.backend.scheduleStorage === undefined ? "no scheduleStorage" : undefined),
  ),
];
