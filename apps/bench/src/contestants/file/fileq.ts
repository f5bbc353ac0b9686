// fileq: a queue in a LevelDB folder, the fastest file-based queue of npm for one process.
import { createRequire } from "node:module";
import type { Contestant, Payload } from "../../frame/contestant.ts";

interface Fileq {
  push(payload: Payload): Promise<void>;
  /** Takes one, for good, or rejects after so many milliseconds. */
  poll(timeMs: number): Promise<Payload>;
  readonly queue: { readonly wm: Promise<{ readonly read: number; readonly write: number }> };
  close(): Promise<void>;
}
const require = createRequire(import.meta.url);

/** It takes one task at a time, whoever asks; a few who wait in line leave no gap. */
const takers = 4;
const patienceMs = 50;

export const contestant: Contestant = {
  name: "fileq",
  ours: false,
  packages: ["fileq"],
  settings: "plain polls, as its peek with a commit never lets go of its lock",
  durability: "nothing is synced; a task is taken for good before it is handled",
  results: "none",
  shared: false,
  async open({ folder }) {
    const { from } = require("fileq") as { from(name: string, options: { readonly path: string }): Fileq };
    const queue = from("queue", { path: folder });
    return {
      add: (payload) => queue.push(payload),
      addMany: (payloads) => Promise.all(payloads.map((payload) => queue.push(payload))),
      async work(concurrency, handle) {
        let stopping = false;
        const take = async (): Promise<void> => {
          while (!stopping) {
            const payload = await queue.poll(patienceMs).catch((error: unknown) => {
              if (!/time/i.test(String(error))) throw error;
            });
            if (payload !== undefined) await handle(payload);
          }
        };
        const taking = Array.from({ length: Math.min(concurrency, takers) }, take);
        return {
          stop: async () => {
            stopping = true;
            await Promise.all(taking);
          },
        };
      },
      async waiting() {
        const { read, write } = await queue.queue.wm;
        return write - read;
      },
      close: () => queue.close(),
    };
  },
};
