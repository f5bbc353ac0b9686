// The conduct of every component, as cases: hostile input, close, outage, isolation.
import type { EventStorage, ResultStorage, ScheduleStorage, TaskQueue } from "@omniq/core";
import { newEvent, queryAll } from "../event-storage/new-event.ts";
import { listAll as listResults, newResult } from "../result-storage/new-result.ts";
import { listAll as listSchedules, newSchedule } from "../schedule-storage/new-schedule.ts";
import type { Case } from "../suite.ts";
import { closeCases } from "./close.ts";
import { closeWhileReservingCases } from "./close-while-reserving.ts";
import { damagedTaskCases } from "./damaged-item.ts";
import { damagedEventCases, damagedResultCases, damagedScheduleCases } from "./damaged-storages.ts";
import { hostileTaskQueueCases } from "./hostile-input.ts";
import { hostileEventCases, hostileResultCases, hostileScheduleCases } from "./hostile-storages.ts";
import {
  eventIsolationCases,
  resultIsolationCases,
  scheduleIsolationCases,
  taskQueueIsolationCases,
} from "./isolation.ts";
import { newTask } from "./new-task.ts";
import { outageCases } from "./outage.ts";
import { outageWriteCases } from "./outage-writes.ts";

const lease = { taskId: "x", queue: "q", token: "x", run: 1, attempt: 1 };
const request = { queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 0, worker: "w" };

const taskQueueVerbs: Readonly<Record<string, (given: TaskQueue) => Promise<unknown>>> = {
  enqueue: (queue) => queue.enqueue([{ tasks: [newTask("x")] }]),
  reserve: (queue) => queue.reserve(request),
  extend: (queue) => queue.extend([lease], 60_000),
  settle: (queue) => queue.settle([{ ...lease, outcome: "release" }]),
  cancel: (queue) => queue.cancel(["x"]),
  get: (queue) => queue.get(["x"]),
  list: (queue) => queue.list({}, {}),
  counts: (queue) => queue.counts(["q"]),
  configureQueue: (queue) => queue.configureQueue("q", {}),
  pause: (queue) => queue.pause("other"),
  resume: (queue) => queue.resume("other"),
  retry: (queue) => queue.retry(["x"]),
  remove: (queue) => queue.remove(["x"]),
  purge: (queue) => queue.purge("other", ["ready"]),
  unrecorded: (queue) => queue.unrecorded(1),
  record: (queue) => queue.record([{ taskId: "x", run: 1 }]),
  sweep: (queue) => queue.sweep(1),
};

export const taskQueueConductCases: readonly Case<TaskQueue>[] = [
  ...hostileTaskQueueCases,
  ...closeCases<TaskQueue>({
    kind: "taskQueue",
    verbs: taskQueueVerbs,
    wait: (queue) => queue.reserve({ ...request, queues: ["nothing comes here"], waitMs: 60_000 }),
    use: async (queue) => {
      await queue.enqueue([{ tasks: [newTask("used", { queue: "used" })] }]);
      await queue.get(["used"]);
    },
  }),
  ...closeWhileReservingCases,
  ...outageCases<TaskQueue>({
    verbs: taskQueueVerbs,
    reads: ["get", "list", "counts", "unrecorded"],
    store: async (queue, name) => {
      await queue.enqueue([{ tasks: [newTask(name)] }]);
    },
    stored: async (queue) => (await queue.list({}, { limit: 1_000 })).items.map((task) => task.id),
  }),
  ...outageWriteCases,
  ...damagedTaskCases,
  ...taskQueueIsolationCases,
];

const resultStorageVerbs: Readonly<Record<string, (given: ResultStorage) => Promise<unknown>>> = {
  put: (results) => results.put([newResult("x")]),
  get: (results) => results.get(["x"]),
  wait: (results) => results.wait([{ taskId: "x", run: 1 }], 0),
  delete: (results) => results.delete(["x"]),
  list: (results) => results.list({}, {}),
  sweep: (results) => results.sweep(1),
};

export const resultStorageConductCases: readonly Case<ResultStorage>[] = [
  ...hostileResultCases,
  ...closeCases<ResultStorage>({
    kind: "resultStorage",
    verbs: resultStorageVerbs,
    wait: (results) => results.wait([{ taskId: "never", run: 1 }], 60_000),
    use: async (results) => {
      await results.put([newResult("used")]);
    },
  }),
  ...outageCases<ResultStorage>({
    verbs: resultStorageVerbs,
    reads: ["get", "wait", "list"],
    store: async (results, name) => {
      await results.put([newResult(name)]);
    },
    stored: async (results) => (await listResults(results, {}, 500)).map((result) => result.taskId),
  }),
  ...damagedResultCases,
  ...resultIsolationCases,
];

const eventStorageVerbs: Readonly<Record<string, (given: EventStorage) => Promise<unknown>>> = {
  append: (events) => events.append([newEvent("x")]),
  query: (events) => events.query({}, {}),
  sweep: (events) => events.sweep(1),
};

export const eventStorageConductCases: readonly Case<EventStorage>[] = [
  ...hostileEventCases,
  ...closeCases<EventStorage>({
    kind: "eventStorage",
    verbs: eventStorageVerbs,
    wait: async (events) => {
      const step = await events.tail({ taskId: "nobody" }, "start")[Symbol.asyncIterator]().next();
      return step.done === true ? undefined : step.value;
    },
    use: async (events) => {
      await events.append([newEvent("used")]);
    },
  }),
  ...outageCases<EventStorage>({
    verbs: eventStorageVerbs,
    reads: ["query"],
    store: async (events, name) => {
      await events.append([newEvent(name)]);
    },
    stored: async (events) => (await queryAll(events, {}, 500)).map((event) => event.id),
  }),
  ...damagedEventCases,
  ...eventIsolationCases,
];

const scheduleStorageVerbs: Readonly<Record<string, (given: ScheduleStorage) => Promise<unknown>>> = {
  put: (schedules) => schedules.put(newSchedule("x"), undefined),
  get: (schedules) => schedules.get(["x"]),
  list: (schedules) => schedules.list({}),
  delete: (schedules) => schedules.delete(["x"]),
  due: (schedules) => schedules.due(1),
  advance: (schedules) => schedules.advance("x", "x", { nextAt: null, runs: 1 }),
};

export const scheduleStorageConductCases: readonly Case<ScheduleStorage>[] = [
  ...hostileScheduleCases,
  ...closeCases<ScheduleStorage>({
    kind: "scheduleStorage",
    verbs: scheduleStorageVerbs,
    use: async (schedules) => {
      await schedules.put(newSchedule("used"), undefined);
    },
  }),
  ...outageCases<ScheduleStorage>({
    verbs: scheduleStorageVerbs,
    reads: ["get", "list", "due"],
    store: async (schedules, name) => {
      await schedules.put(newSchedule(name), undefined);
    },
    stored: async (schedules) => (await listSchedules(schedules, 500)).map((schedule) => schedule.id),
  }),
  ...damagedScheduleCases,
  ...scheduleIsolationCases,
];
