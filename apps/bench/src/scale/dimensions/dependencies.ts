// Dependencies of one task, and dependents of one task.
import { chunks, ended, map, newTask, numbers, store, take, type Dimension, type Store } from "../dimension.ts";

const yearMs = 31_536_000_000;
let parents: string[] = [];

/** One child that waits for so many parents. */
async function family(on: Store, size: number): Promise<void> {
  const tasks = [...map(numbers(0, size), () => newTask({ queue: "parents" }))];
  await store(on, tasks);
  parents = tasks.map(({ id }) => id);
  await store(on, [
    newTask({ queue: "children", dependencies: parents.map((taskId) => ({ taskId, onFailure: "fail" as const })) }),
  ]);
}

export const fanIn: Dimension = {
  name: "fan-in",
  about: "tasks that one task depends on",
  largest: 100_000,
  grow: async (on, _from, to) => await family(on, to),
  operations: [
    {
      name: "completing one of them",
      bound: 1.5,
      run: async (on) => {
        const leases = await take(on, ["parents"], 20);
        for (const part of chunks(leases, 5))
          await on.backend.taskQueue().settle(part.map((lease) => ended(lease, "completed")));
        return leases.length;
      },
    },
  ],
};

let parent = newTask();
export const fanOut: Dimension = {
  name: "fan-out",
  about: "tasks that depend on one task",
  largest: 100_000,
  grow: async (on, from, to) => {
    if (from === 0) {
      parent = newTask({ queue: "parents", delayMs: yearMs });
      await store(on, [parent]);
    }
    const dependencies = [{ taskId: parent.id, onFailure: "run" as const }];
    await store(
      on,
      map(numbers(from, to), () => newTask({ queue: "children", dependencies })),
    );
  },
  operations: [
    {
      name: "one dependent more",
      bound: 1.5,
      run: async (on) => {
        await store(on, [newTask({ queue: "children", dependencies: [{ taskId: parent.id, onFailure: "run" }] })]);
        return 1;
      },
    },
  ],
};
