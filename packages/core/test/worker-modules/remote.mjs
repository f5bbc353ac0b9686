// A backend for the heartbeat thread's tests: it counts extensions in shared memory.
export function adapter({ counts }) {
  const view = new Int32Array(counts);
  return {
    check: async () => {
      Atomics.store(view, 1, 1);
    },
    taskQueue: () => ({
      capabilities: { maxBatch: 100 },
      extend: async (leases) => {
        for (const lease of leases) Atomics.add(view, lease.taskId === "bounded" ? 2 : 0, 1);
        return leases.map(() => ({ state: "held", deadline: 0 }));
      },
    }),
  };
}
