// `pnpm torture --backend X --minutes M --seed S`: the torture app on a backend, or on a mix given as TASKS,RESULTS,EVENTS.
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { cleanUpAfter } from "./clean-up.mjs";
import { backends, makePlace, writeConfig } from "./interchange.mjs";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";

const { values } = parseArgs({
  options: {
    backend: { type: "string", default: "sqlite" },
    minutes: { type: "string", default: "1" },
    seed: { type: "string" },
    workers: { type: "string" },
    producers: { type: "string" },
  },
});
const [tasks, results = tasks, events = results] = values.backend.split(",");
for (const name of [tasks, results, events])
  if (!backends.includes(name))
    throw new Error(`--backend takes ${backends.join(", ")} or three of them with commas, not ${name}`);
if ([tasks, results].includes("memory"))
  throw new Error("torture needs backends that processes share; memory is of one process");

const { stop } = await startServers(serversNeeded([tasks, results, events]));
const folder = makePlace("torture");
const { config, name } = writeConfig([tasks, results, events], folder);
const passOn = ["minutes", "seed", "workers", "producers"].flatMap((key) =>
  values[key] === undefined ? [] : [`--${key}`, values[key]],
);
const { status } = spawnSync(process.execPath, [`${root}apps/torture/dist/main.js`, "--config", config, ...passOn], {
  stdio: "inherit",
});
await cleanUpAfter(name, [tasks, results, events]);
await stop();
if (status === 0) rmSync(folder, { recursive: true, force: true });
console.log(status === 0 ? "\n1 passed, 0 failed" : "\n0 passed, 1 failed");
process.exitCode = status ?? 1;
