// `node scripts/torture-store.mjs --store folder|s3|gcs|azure --minutes M --seed S`: the torture app on one folder, or on one bucket of a stand-in
// for a cloud store with a round trip of 50 ms. Writes are ambiguous: refused, lost before and after the commit, landing late. Processes die
// at random, and one worker after the other is stopped until commits that it would read next are deleted under it.
import { fork } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { randomFaults, startStand } from "../apps/test-stores/dist/index.js";
import { LocalStore } from "../packages/file/dist/index.js";
import { root } from "./steps.mjs";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "s3" },
    minutes: { type: "string", default: "2" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    workers: { type: "string", default: "8" },
    producers: { type: "string", default: "3" },
    "pass-by": { type: "string", default: "3" },
    "round-trip": { type: "string", default: "50" },
    // Processes need seconds to start where they load a cloud's SDK; killed sooner than that, they do nothing but start.
    every: { type: "string", default: "4000" },
    // What a cloud store gives at least: while a dozen processes race for each commit, shorter leases run out under their holders.
    lease: { type: "string", default: "30000" },
    // 0 on a folder: the folder as it is, watched and without faults of writes.
    faults: { type: "string", default: "0.03" },
  },
});
const share = Number(values.faults);
// Adapters and stores are found from the configuration's folder, so it lies where the app's packages are seen.
const folder = mkdtempSync(`${root}apps/torture/node_modules/.store-`);

/** A folder, whose writes are made ambiguous by a store of its own package, as a third party would add one. */
function openFolder() {
  const path = join(folder, "data");
  const place = join(folder, "node_modules/@omniq/file-faulty");
  mkdirSync(place, { recursive: true });
  writeFileSync(
    join(place, "package.json"),
    JSON.stringify({ name: "@omniq/file-faulty", version: "1.0.0", type: "module", exports: "./index.js" }),
  );
  writeFileSync(
    join(place, "index.js"),
    `export { store } from ${JSON.stringify(new URL("../apps/test-stores/dist/faulty-folder.js", import.meta.url).href)};\n`,
  );
  return {
    description:
      share === 0
        ? { base_dir: path }
        : { base_dir: "faulty://data", storage_options: { path, share, seed: Number(values.seed) } },
    store: new LocalStore(path),
    stop: async () => {},
  };
}

async function openBucket() {
  const stand = await startStand(values.store, "torture");
  stand.server.roundTripMs = Number(values["round-trip"]);
  const { fault, injected } = randomFaults(Number(values.seed), share);
  stand.server.fault = fault;
  const { store } = await import(`../packages/file-${values.store}/dist/index.js`);
  return {
    description: { base_dir: stand.url("tasks"), storage_options: stand.storageOptions },
    store: store.fromUrl(stand.url("tasks"), stand.storageOptions),
    stop: async () => {
      console.log("requests", JSON.stringify(stand.server.counts), "injected", JSON.stringify(injected));
      await stand.server.stop();
    },
  };
}

const opened = values.store === "folder" ? openFolder() : await openBucket();
const described = {
  type: "file",
  ...opened.description,
  minimum_lease_ms: Number(values.lease),
  // Far below what is right, so that stopped processes are passed by deletions: by lists on a folder, by dates on cloud stores.
  deletion_grace_ms: values.store === "folder" ? 2_000 : 12_000,
  checkpoint_bytes: 20_000,
};
const config = join(folder, "omniq.json");
writeFileSync(config, JSON.stringify({ task_queue: described }));

const positions = async () =>
  (await opened.store.list("log/")).objects.map(({ key }) => Number(key.slice(4))).sort((a, b) => a - b);
/** Stops a process until the commit that it would read next is gone: what is there when it stops is the most that it can have read. */
async function passBy(pid) {
  const from = Date.now();
  process.kill(pid, "SIGSTOP");
  const last = (await positions()).at(-1) ?? 0;
  let to = 0;
  // As long as everything is deleted that it may have read, and the one after that.
  for (let tried = 0; tried < 600 && to === 0; tried++) {
    await sleep(250);
    const [first = 0] = await positions();
    if (first > last + 1) to = Date.now();
  }
  process.kill(pid, "SIGCONT");
  console.log(
    to === 0
      ? `process ${pid} was not passed by`
      : `process ${pid} was stopped at commit ${last} or before, and let go when all up to ${last + 1} was deleted, after ${to - from} ms`,
  );
  return { kind: "passed", pid, from, to };
}

const passOn = ["minutes", "seed", "workers", "producers", "pass-by", "every"].flatMap((key) => [
  `--${key}`,
  values[key],
]);
const app = fork(`${root}apps/torture/dist/main.js`, ["--config", config, ...passOn], {
  env: { ...process.env, TORTURE_LEASE_MS: values.lease },
});
app.on("message", async ({ kind, pid }) => {
  if (kind === "pass-by") app.send(await passBy(pid));
});
const status = await new Promise((resolve) => app.once("exit", resolve));
await opened.store.close();
await opened.stop();
rmSync(folder, { recursive: true, force: true });
console.log(status === 0 ? "\n1 passed, 0 failed" : "\n0 passed, 1 failed");
process.exitCode = status ?? 1;
