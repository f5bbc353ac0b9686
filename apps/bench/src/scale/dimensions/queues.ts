// Names of queues: once used, and listed by one worker.
import { map, newTask, numbers, store, take, work, ended, type Dimension } from "../dimension.ts";

const name = (n: number): string => `queue-${n}`;

export const queuesUsed: Dimension = {
  name: "queues-used",
  about: "names of queues that were used once and are empty",
  largest: 100_000,
  grow: async (on, from, to) => {
    const queue = on.backend.taskQueue();
    const step = 500;
    for (let start = from; start < to; start += step) {
      const end = Math.min(to, start + step);
      await store(
        on,
        map(numbers(start, end), (n) => newTask({ queue: name(n) })),
      );
      const leases = await take(on, [...map(numbers(start, end), name)], end - start);
      await queue.settle(leases.map((lease) => ended(lease, "completed")));
    }
  },
  operations: [
    { name: "a task, ten at a time", bound: 1.5, run: async (on) => await work(on, 10) },
    {
      name: "a sweep with nothing due",
      bound: 1.5,
      run: async ({ backend }) => {
        await backend.taskQueue().sweep(1_000);
        return 1;
      },
    },
  ],
};

let listed: string[] = [];
export const queuesListed: Dimension = {
  name: "queues-listed",
  about: "queues that one worker lists, all empty but one",
  largest: 10_000,
  grow: async (_on, _from, to) => {
    listed = [...map(numbers(0, to), name)];
    await Promise.resolve();
  },
  operations: [
    {
      name: "a task, ten at a time",
      // The list itself is sent; what is done for each name must be little.
      bound: 3,
      run: async (on) => {
        await store(
          on,
          map(numbers(0, 10), () => newTask({ queue: name(listed.length - 1) })),
        );
        const leases = await take(on, listed, 10);
        await on.backend.taskQueue().settle(leases.map((lease) => ended(lease, "completed")));
        return leases.length;
      },
    },
  ],
};

export const groups: Dimension = {
  name: "groups",
  about: "groups of limit 1 with one ready task each",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), (n) => newTask({ queue: "grouped", group: { key: `group-${n}`, limit: 1 } })),
    ),
  operations: [
    {
      name: "a task of a group, ten at a time",
      bound: 1.5,
      run: async (on) => await work(on, 10, { queue: "grouped", group: { key: "mine", limit: 100 } }),
    },
  ],
};

export const oneGroup: Dimension = {
  name: "one-group",
  about: "tasks that wait in one group of limit 1",
  grow: async (on, from, to) =>
    await store(
      on,
      map(numbers(from, to), () => newTask({ queue: "grouped", group: { key: "one", limit: 1 } })),
    ),
  operations: [
    {
      name: "a task of the group",
      bound: 1.5,
      run: async (on) => {
        const leases = await take(on, ["grouped"], 10);
        await on.backend.taskQueue().settle(leases.map((lease) => ended(lease, "completed")));
        await store(
          on,
          map(leases, () => newTask({ queue: "grouped", group: { key: "one", limit: 1 } })),
        );
        return leases.length;
      },
    },
  ],
};
