// Cases of `isolation`: two namespaces on one backend never see each other, also where one's name begins with the other's.
import assert from "node:assert/strict";
import type { EventStorage, ResultStorage, ScheduleStorage, TaskQueue } from "@omniq/core";
import { eventIds, newEvent, queryAll, Tail } from "../event-storage/new-event.ts";
import { listAll as listResults, newResult } from "../result-storage/new-result.ts";
import { listAll as listSchedules, newSchedule } from "../schedule-storage/new-schedule.ts";
import type { Case } from "../suite.ts";
import { anotherConnection, neighbour } from "./connections.ts";
import { enqueueAll, newTask, take } from "./new-task.ts";
import { awaitedLater, settleDown, within } from "./waiting.ts";

const rule = "isolation";

export const taskQueueIsolationCases: readonly Case<TaskQueue>[] = [
  {
    rule,
    title: "the same id in two namespaces is two tasks, and each is listed, counted and handed out at home only",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue", neighbour(world));
      await enqueueAll(queue, [newTask("a", { payload: "here" }), newTask("b")]);
      await enqueueAll(other, [newTask("a", { payload: "there" })]);
      assert.deepEqual(
        (await queue.list({}, {})).items.map((task) => task.payload),
        ["here", "payload of b"],
      );
      assert.deepEqual(
        (await other.list({}, {})).items.map((task) => task.payload),
        ["there"],
      );
      assert.equal((await other.get(["b"]))[0], undefined);
      assert.equal((await queue.counts())["q"]?.ready, 2);
      assert.equal((await other.counts())["q"]?.ready, 1);
      assert.deepEqual(
        (await take(other)).map((lease) => lease.task.payload),
        ["there"],
      );
      assert.deepEqual((await take(other)).length, 0);
      assert.deepEqual(
        (await take(queue)).map((lease) => lease.taskId),
        ["a", "b"],
      );
    },
  },
  {
    rule,
    title: "a lease of one namespace is lost in the other",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue", neighbour(world));
      await enqueueAll(queue, [newTask("a")]);
      await enqueueAll(other, [newTask("a")]);
      const [lease] = await take(queue);
      await take(other);
      assert.ok(lease !== undefined);
      const { taskId, queue: name, token, run, attempt } = lease;
      assert.deepEqual(
        await other.settle([{ taskId, queue: name, token, run, attempt, outcome: "completed", storeResult: false }]),
        ["lost"],
      );
      assert.equal((await other.get(["a"]))[0]?.state, "active");
    },
  },
  {
    rule,
    title: "pause, settings, purge, cancel and unrecorded outcomes stay at home",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue", neighbour(world));
      await enqueueAll(queue, [newTask("a"), newTask("b")]);
      await enqueueAll(other, [newTask("a"), newTask("b")]);
      await queue.pause("q");
      assert.equal((await other.counts(["q"]))["q"]?.paused, false);
      assert.deepEqual(await queue.cancel(["a"]), ["cancelled"]);
      assert.deepEqual(
        (await queue.unrecorded(10)).map((outcome) => outcome.taskId),
        ["a"],
      );
      assert.deepEqual(await other.unrecorded(10), []);
      await other.record([{ taskId: "a", run: 1 }]);
      assert.equal((await queue.unrecorded(10)).length, 1);
      assert.equal(await queue.purge("q", ["ready"]), 1);
      assert.deepEqual(
        (await take(other)).map((lease) => lease.taskId),
        ["a", "b"],
      );
    },
  },
  {
    rule,
    title: "a waiting reserve is handed nothing of another namespace",
    async run(queue, world) {
      const other = await anotherConnection(world, "taskQueue", neighbour(world));
      const stop = new AbortController();
      const waiting = awaitedLater(
        queue.reserve(
          { queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 20_000, worker: "w" },
          { signal: stop.signal },
        ),
      );
      await settleDown();
      await enqueueAll(other, [newTask("there")]);
      await enqueueAll(queue, [newTask("here")]);
      assert.deepEqual(
        (await within(waiting, "the lease")).map((lease) => lease.taskId),
        ["here"],
      );
      stop.abort();
      assert.equal((await other.get(["there"]))[0]?.state, "ready");
    },
  },
];

export const resultIsolationCases: readonly Case<ResultStorage>[] = [
  {
    rule,
    title: "results of two namespaces are stored, listed, awaited and deleted apart",
    async run(results, world) {
      const other = await anotherConnection(world, "resultStorage", neighbour(world));
      await results.put([newResult("a", { value: "here" })]);
      assert.deepEqual(await other.get(["a"]), [undefined]);
      assert.deepEqual(await listResults(other, {}, 10), []);
      const waiting = awaitedLater(other.wait([{ taskId: "w", run: 1 }], 20_000));
      await settleDown();
      await results.put([newResult("w", { value: "here" })]);
      await other.put([newResult("w", { value: "there" })]);
      assert.equal((await within(waiting, "the result"))[0]?.value, "there");
      await other.delete(["a"]);
      assert.equal((await results.get(["a"]))[0]?.value, "here");
    },
  },
];

export const eventIsolationCases: readonly Case<EventStorage>[] = [
  {
    rule,
    title: "events of two namespaces are stored, found and followed apart, also with the same ids",
    async run(events, world) {
      const other = await anotherConnection(world, "eventStorage", neighbour(world));
      await using tail = new Tail(other, {}, "start");
      const following = awaitedLater(tail.take(2));
      await events.append([newEvent("a", { data: "here" }), newEvent("b")]);
      await other.append([newEvent("a", { data: "there" }), newEvent("c")]);
      assert.deepEqual(
        (await queryAll(other, {}, 10)).map((event) => event.data ?? event.id),
        ["there", "c"],
      );
      assert.deepEqual(eventIds(await queryAll(events, {}, 10)), ["a", "b"]);
      assert.deepEqual(
        (await following).map((event) => event.data ?? event.id),
        ["there", "c"],
      );
    },
  },
];

export const scheduleIsolationCases: readonly Case<ScheduleStorage>[] = [
  {
    rule,
    title: "schedules of two namespaces are stored, listed, due and deleted apart",
    async run(schedules, world) {
      const other = await anotherConnection(world, "scheduleStorage", neighbour(world));
      const here = await schedules.put(newSchedule("a", { nextAt: 1, rule: "here" }), null);
      assert.deepEqual(await listSchedules(other, 10), []);
      assert.deepEqual((await other.due(10)).schedules, []);
      assert.ok((await other.put(newSchedule("a", { nextAt: 1, rule: "there" }), null)) !== undefined);
      assert.deepEqual(await other.delete(["a"]), [true]);
      assert.deepEqual((await schedules.get(["a"]))[0], here);
    },
  },
];
