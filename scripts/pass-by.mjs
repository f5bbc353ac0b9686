// Stops a process on a file store until the commits that it would read next are deleted under it.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { LocalStore } from "../packages/file/dist/index.js";

const triesMs = 150_000;

/** The store of a configuration's task queue, opened once more beside the run. */
export async function storeOf(config) {
  const { base_dir: place, storage_options: options } = JSON.parse(readFileSync(config, "utf8")).task_queue;
  const scheme = /^(\w+):\/\//.exec(place)?.[1];
  if (scheme === undefined) return new LocalStore(place);
  if (scheme === "faulty") return new LocalStore(options.path);
  const kind = { s3: "s3", gs: "gcs", az: "azure" }[scheme];
  const { store } = await import(`../packages/file-${kind}/dist/index.js`);
  return store.fromUrl(place, options);
}

/** Positions of the commits that are there, in order. Faults cut off whoever asks, too, for as long as a lease. */
async function positions(store, until) {
  for (;;) {
    try {
      return (await store.list("log/")).objects.map(({ key }) => Number(key.slice(4))).sort((a, b) => a - b);
    } catch (error) {
      if (Date.now() > until) throw error;
      await sleep(250);
    }
  }
}

/** Whether it was passed by: what is in the log when it stops is the most that it can have read. */
export async function passBy(store, pid) {
  const from = Date.now();
  const until = from + triesMs;
  process.kill(pid, "SIGSTOP");
  let passed = false;
  let last = 0;
  try {
    last = (await positions(store, until)).at(-1) ?? 0;
    while (!passed && Date.now() < until) {
      await sleep(250);
      const [first = 0] = await positions(store, until);
      // All is deleted that it may have read, and the one after that.
      passed = first > last + 1;
    }
  } finally {
    process.kill(pid, "SIGCONT");
  }
  console.log(
    passed
      ? `process ${pid} was stopped at commit ${last} or before, and let go when all up to ${last + 1} was deleted, after ${Date.now() - from} ms`
      : `process ${pid} was not passed by`,
  );
  return passed;
}
