// OmniQ as a contestant, the same on every backend: one task queue, results kept in the same backend, no tuning.
import { defineTask, OmniQ, typeOnly, type Backend } from "@omniq/core";
import type { Contestant, Handle, OpenQueue, Place, Payload } from "../frame/contestant.ts";

/** What is the same on every backend. */
const shared: Pick<Contestant, "ours" | "settings" | "results"> = {
  ours: true,
  settings: "as it comes",
  results: "kept for a day, in the same backend",
};

function openOmniQ(backend: Backend): OpenQueue {
  let handle: Handle = () => 0;
  const work = defineTask({ name: "work", input: typeOnly<Payload>(), run: (payload) => handle(payload) });
  const omniq = new OmniQ({ taskQueue: backend });
  return {
    add: (payload) => omniq.enqueue(work, payload),
    addMany: (payloads) => omniq.enqueueMany(payloads.map((payload) => work.with(payload))),
    async work(concurrency, given) {
      handle = given;
      const worker = omniq.worker({ tasks: [work], concurrency });
      await worker.start();
      return { stop: () => worker.stop() };
    },
    roundTrip: async (payload) => (await omniq.enqueue(work, payload)).result(),
    async waiting() {
      const counts = Object.values(await backend.taskQueue().counts());
      return counts.reduce(
        (sum, { blocked, scheduled, ready, active }) => sum + blocked + scheduled + ready + active,
        0,
      );
    },
    async *storedResults() {
      const results = backend.resultStorage();
      let cursor: string | undefined;
      do {
        const { items, next } = await results.list({ status: "completed" }, { limit: 1_000, cursor });
        for (const { value } of items) yield JSON.parse(value ?? "null");
        cursor = next;
      } while (cursor !== undefined);
    },
    close: async () => {
      await omniq.close();
      await backend.close();
    },
  };
}

/** A contestant from a maker of backends. */
export function omniqOn(
  more: Omit<Contestant, keyof typeof shared | "open"> & Partial<Contestant>,
  make: (place: Place) => Backend | Promise<Backend>,
): Contestant {
  return { ...shared, ...more, open: async (place) => openOmniQ(await make(place)) };
}
