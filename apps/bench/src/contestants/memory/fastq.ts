// fastq: a queue of calls in the process, the floor. No leases, retries, counts by state or stored results.
import fastq from "fastq";
import type { Contestant, Handle, Payload } from "../../frame/contestant.ts";

export const contestant: Contestant = {
  name: "fastq",
  ours: false,
  packages: ["fastq"],
  settings: "its promise API, paused until a worker runs",
  durability: "none",
  results: "given to the caller, not stored",
  shared: false,
  async open() {
    let handle: Handle = () => 0;
    const queue = fastq.promise<unknown, Payload, number>(async (payload) => handle(payload), 1);
    queue.pause();
    // It resolves when the task is done, which nobody waits for here.
    const push = (payload: Payload): void => void queue.push(payload);
    return {
      add: async (payload) => push(payload),
      addMany: async (payloads) => payloads.forEach(push),
      async work(concurrency, given) {
        handle = given;
        queue.concurrency = concurrency;
        queue.resume();
        return {
          stop: async () => {
            queue.pause();
            while (queue.running() > 0) await new Promise((resolve) => setImmediate(resolve));
          },
        };
      },
      roundTrip: (payload) => queue.push(payload),
      waiting: async () => queue.length() + queue.running(),
      close: async () => queue.kill(),
    };
  },
};
