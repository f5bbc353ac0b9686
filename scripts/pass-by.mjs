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

const positions = async (store) =>
  (await store.list("log/")).objects.map(({ key }) => Number(key.slice(4))).sort((a, b) => a - b);

/** Whether it was passed by: what is in the log when it stops is the most that it can have read. */
export async function passBy(store, pid) {
  const from = Date.now();
  process.kill(pid, "SIGSTOP");
  let passed = false;
  let last = 0;
  try {
    last = (await positions(store)).at(-1) ?? 0;
    while (!passed && Date.now() < from + triesMs) {
      await sleep(250);
      const [first = 0] = await positions(store);
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
