// The contestants on files, each through the API that its users have. All fill a folder and drain it; each payload must come once.
import { createRequire } from "node:module";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { file } from "@omniq/file";

export interface FileContestant {
  /** Adds tasks with the payloads 0 to `count` - 1, by so many callers at a time. */
  fill(count: number, callers: number): Promise<void>;
  /** Handles all of them, 100 at a time; `handle` is called with each payload. Resolves when the last one has been handled. */
  drain(count: number, handle: (payload: number) => void): Promise<void>;
  close(): Promise<void>;
}
export type FileContestantName = "omniq" | "fileq" | "file-queue";

/** In the order of the table. `promises`: what is safe on the disk, and when. */
export const fileContestants: Readonly<
  Record<
    FileContestantName,
    {
      readonly name: string;
      readonly promises: string;
      readonly open: (folder: string) => Promise<FileContestant>;
    }
  >
> = {
  omniq: {
    name: "OmniQ",
    promises: "each commit synced before it is acknowledged; leases; results stored; processes share the folder",
    open: openOmniQ,
  },
  fileq: {
    name: "fileq 1.4.1",
    promises: "nothing synced; taken for good before it is handled; no results; one process",
    open: openFileq,
  },
  "file-queue": {
    name: "file-queue 0.3.0",
    promises: "nothing synced; committed after it is handled; no results; processes share the folder",
    open: openFileQueue,
  },
};

const require = createRequire(import.meta.url);
const concurrency = 100;

async function callMany(count: number, callers: number, call: (payload: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (next < count) await call(next++);
    }),
  );
}
/** Calls `handle`, and resolves when it has been called so often. */
function counted(count: number, handle: (payload: number) => void) {
  let over = (): void => {};
  const done = new Promise<void>((resolve) => (over = resolve));
  let left = count;
  return {
    done,
    handle: (payload: number): void => {
      handle(payload);
      if (--left === 0) over();
    },
  };
}

async function openOmniQ(folder: string): Promise<FileContestant> {
  let run: (payload: number) => void = () => {};
  const work = defineTask({ name: "work", input: typeOnly<number>(), run: (payload) => run(payload) });
  const omniq = new OmniQ({ taskQueue: file({ baseDir: folder }) });
  await omniq.connect();
  return {
    fill: (count, callers) => callMany(count, callers, (payload) => omniq.enqueue(work, payload)),
    // Resolves later than it must: when the last results are stored too.
    drain: async (_, handle) => {
      run = handle;
      await omniq.worker({ tasks: [work], concurrency }).drain();
    },
    close: () => omniq.close(),
  };
}

interface Fileq {
  push(payload: number): Promise<void>;
  poll(): Promise<number>;
  close(): Promise<void>;
}
async function openFileq(folder: string): Promise<FileContestant> {
  const { from } = require("fileq") as { from(name: string, options: { readonly path: string }): Fileq };
  const queue = from("queue", { path: folder });
  return {
    fill: (count, callers) => callMany(count, callers, (payload) => queue.push(payload)),
    // Its peek with a commit never lets go of its lock, so that only the plain poll can be used.
    drain: async (count, handle) => {
      const each = counted(count, handle);
      await callMany(count, concurrency, async () => each.handle(await queue.poll()));
      await each.done;
    },
    close: () => queue.close(),
  };
}

type Failed = Error | null | undefined;
interface FileQueue {
  push(payload: number, callback: (error: Failed) => void): void;
  tpop(callback: (error: Failed, payload: number, commit: (callback: (error: Failed) => void) => void) => void): void;
  stop(): void;
}
/** Each taker lists the folder, and takers race for the first name: with more or fewer of them it is slower. */
const takers = 16;
async function openFileQueue(folder: string): Promise<FileContestant> {
  const { Queue } = require("file-queue") as {
    Queue: new (folder: string, callback: (error: Failed) => void) => FileQueue;
  };
  const queue = await new Promise<FileQueue>((resolve, reject) => {
    const made: FileQueue = new Queue(folder, (error) => (error ? reject(error) : resolve(made)));
  });
  return {
    fill: (count, callers) =>
      callMany(
        count,
        callers,
        (payload) =>
          new Promise<void>((resolve, reject) => queue.push(payload, (error) => (error ? reject(error) : resolve()))),
      ),
    drain: async (count, handle) => {
      const each = counted(count, handle);
      const take = (): void =>
        queue.tpop((error, payload, commit) => {
          if (error) throw error;
          commit((failed) => {
            if (failed) throw failed;
            each.handle(payload);
            take();
          });
        });
      for (let taker = 0; taker < takers; taker++) take();
      await each.done;
    },
    close: async () => queue.stop(),
  };
}
