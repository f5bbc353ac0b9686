// `node scripts/torture-store.mjs --store s3|gcs|azure --minutes M --seed S`: the torture app on one bucket of a stand-in for a cloud store,
// with a round trip of 50 ms and ambiguous writes: refused, cut before and after the commit, landing late.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { randomFaults, startStand } from "../apps/test-stores/dist/index.js";
import { root } from "./steps.mjs";

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "s3" },
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    workers: { type: "string", default: "8" },
    producers: { type: "string", default: "3" },
    "round-trip": { type: "string", default: "50" },
    // Processes need seconds to start where they load a cloud's SDK; killed sooner than that, they do nothing but start.
    every: { type: "string", default: "4000" },
    // What a cloud store gives at least: while a dozen processes race for each commit, shorter leases run out under their holders.
    lease: { type: "string", default: "30000" },
    faults: { type: "string", default: "0.03" },
  },
});

const stand = await startStand(values.store, "torture");
stand.server.roundTripMs = Number(values["round-trip"]);
const { fault, injected } = randomFaults(Number(values.seed), Number(values.faults));
stand.server.fault = fault;
// Adapters and stores are found from the configuration's folder, so it lies where the app's packages are seen.
const folder = mkdtempSync(`${root}apps/torture/node_modules/.store-`);
const config = join(folder, "omniq.json");
const described = {
  type: "file",
  base_dir: stand.url("tasks"),
  storage_options: stand.storageOptions,
  // Far below what is right for a cloud store, so that suspended processes are passed by deletions.
  minimum_lease_ms: Number(values.lease),
  deletion_grace_ms: 20_000,
  checkpoint_bytes: 20_000,
  give_up_ms: 120_000,
};
writeFileSync(config, JSON.stringify({ task_queue: described }));
const passOn = ["minutes", "seed", "workers", "producers", "every"].flatMap((key) => [`--${key}`, values[key]]);
const child = spawn(process.execPath, [`${root}apps/torture/dist/main.js`, "--config", config, ...passOn], {
  stdio: "inherit",
  env: { ...process.env, TORTURE_LEASE_MS: values.lease },
});
const status = await new Promise((resolve) => child.once("exit", resolve));
console.log("requests", JSON.stringify(stand.server.counts), "injected", JSON.stringify(injected));
await stand.server.stop();
rmSync(folder, { recursive: true, force: true });
console.log(status === 0 ? "\n1 passed, 0 failed" : "\n0 passed, 1 failed");
process.exitCode = status ?? 1;
