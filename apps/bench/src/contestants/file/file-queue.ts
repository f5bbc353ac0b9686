// file-queue: a file for each task, moved to take it. Processes may share the folder.
import { createRequire } from "node:module";
import type { Contestant, Payload } from "../../frame/contestant.ts";

type Failed = Error | null | undefined;
type Finish = (callback: (error: Failed) => void) => void;
type Popper = (error: Failed, payload: Payload, commit: Finish) => void;
interface FileQueue {
  push(payload: Payload, callback: (error: Failed) => void): void;
  tpop(callback: Popper): void;
  length(callback: (error: Failed, length: number) => void): void;
  stop(): void;
  /** Who waits for a task. */
  laterPop: Popper[];
}
interface Popped {
  readonly payload: Payload;
  readonly commit: Finish;
}
const require = createRequire(import.meta.url);

/** Each taker lists the folder, and takers race for the first name: with more or fewer of them it is slower. */
const takers = 16;

export const contestant: Contestant = {
  name: "file-queue",
  ours: false,
  packages: ["file-queue"],
  settings: `at most ${takers} takers, with which it is fastest; asked again every 50 ms, as its watcher misses tasks`,
  durability: "nothing is synced; a task's file goes after it is handled",
  results: "none",
  shared: true,
  async open({ folder }) {
    const { Queue } = require("file-queue") as {
      Queue: new (folder: string, callback: (error: Failed) => void) => FileQueue;
    };
    const queue = await new Promise<FileQueue>((resolve, reject) => {
      const made: FileQueue = new Queue(folder, (error) => (error ? reject(error) : resolve(made)));
    });
    const push = (payload: Payload): Promise<void> =>
      new Promise((resolve, reject) => queue.push(payload, (error) => (error ? reject(error) : resolve())));
    return {
      add: push,
      addMany: (payloads) => Promise.all(payloads.map(push)),
      async work(concurrency, handle) {
        let stopping = false;
        const busy = new Set<Promise<unknown>>();
        const popped = (): Promise<Popped> =>
          new Promise((resolve, reject) =>
            queue.tpop((error, payload, commit) => (error ? reject(error) : resolve({ payload, commit }))),
          );
        const commits = (commit: Finish): Promise<void> =>
          new Promise((resolve, reject) => commit((error) => (error ? reject(error) : resolve())));
        const take = async (): Promise<void> => {
          while (!stopping) {
            const { payload, commit } = await popped();
            const one = (async () => {
              await handle(payload);
              await commits(commit);
            })();
            busy.add(one);
            await one;
            busy.delete(one);
          }
        };
        for (let taker = 0; taker < Math.min(concurrency, takers); taker++) void take();
        // Who lost the race for each name that it saw waits for a change of the folder, though more may be there.
        const again = setInterval(() => {
          for (const popper of queue.laterPop.splice(0)) queue.tpop(popper);
        }, 50);
        return {
          stop: async () => {
            stopping = true;
            clearInterval(again);
            queue.laterPop = [];
            await Promise.all(busy);
          },
        };
      },
      waiting: () =>
        new Promise((resolve, reject) => queue.length((error, length) => (error ? reject(error) : resolve(length)))),
      close: async () => queue.stop(),
    };
  },
};
