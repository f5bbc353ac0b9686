// Tasks that wait, are delayed, blocked or dead, in the worker's own queue and in others.
import {
  chunks,
  ended,
  map,
  newTask,
  numbers,
  store,
  take,
  work,
  type Dimension,
  type Operation,
} from "../dimension.ts";

const yearMs = 31_536_000_000;

const claimNothing: Operation = {
  name: "a claim that finds nothing",
  bound: 1.5,
  run: async (on) => {
    await take(on, ["main"], 10);
    return 1;
  },
};
const tenTasks: Operation = { name: "a task, ten at a time", bound: 1.5, run: async (on) => await work(on, 10) };
const counts: Operation = {
  name: "counts of one queue",
  bound: 1.5,
  run: async ({ backend }) => {
    await backend.taskQueue().counts(["main"]);
    return 1;
  },
};
const page: Operation = {
  name: "a page of the list",
  bound: 1.5,
  run: async ({ backend }) => {
    await backend.taskQueue().list({ queue: "main" }, { limit: 100 });
    return 1;
  },
};
const pageByName: Operation = {
  name: "a page of the list by a name that nothing has",
  bound: 1.5,
  run: async ({ backend }) => {
    await backend.taskQueue().list({ queue: "main", name: "nothing" }, { limit: 100 });
    return 1;
  },
};
const nothingDue: Operation = {
  name: "a sweep with nothing due",
  bound: 1.5,
  run: async ({ backend }) => {
    await backend.taskQueue().sweep(1_000);
    return 1;
  },
};

export const delayed: Dimension = {
  name: "delayed",
  about: "delayed tasks of the same queue",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), (n) => newTask({ delayMs: yearMs + n })),
    ),
  operations: [claimNothing, tenTasks, counts, page, nothingDue],
};

export const elsewhere: Dimension = {
  name: "elsewhere",
  about: "ready tasks of another queue",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), () => newTask({ queue: "other" })),
    ),
  operations: [claimNothing, tenTasks, nothingDue],
};

export const waiting: Dimension = {
  name: "waiting",
  about: "ready tasks of the same queue",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), () => newTask()),
    ),
  operations: [tenTasks, counts, page, pageByName, nothingDue],
};

export const dead: Dimension = {
  name: "dead",
  about: "dead letters of the same queue",
  grow: async (on, from, to) => {
    for (const part of chunks(numbers(from, to), 1_000)) {
      await store(
        on,
        map(part, () => newTask()),
      );
      const leases = await take(on, ["main"], part.length);
      await on.backend.taskQueue().settle(leases.map((lease) => ended(lease, "failed")));
    }
  },
  operations: [claimNothing, tenTasks, counts, page, nothingDue],
};

export const keys: Dimension = {
  name: "keys",
  about: "deduplication keys that are held",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), (n) => newTask({ delayMs: yearMs, deduplicate: { key: `key-${n}`, mode: "keep" } })),
    ),
  operations: [
    claimNothing,
    {
      name: "an enqueue whose key is held",
      bound: 1.5,
      run: async (on) => {
        await store(on, [newTask({ deduplicate: { key: "key-1", mode: "keep" } })]);
        return 1;
      },
    },
  ],
};

export const priorities: Dimension = {
  name: "priorities",
  about: "ready tasks spread over all priorities",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), (n) => newTask({ priority: (n % 2_001) - 1_000 })),
    ),
  operations: [tenTasks],
};
