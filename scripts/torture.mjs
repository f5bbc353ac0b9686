// `pnpm torture --backend X --minutes M --seed S`: the torture app on a backend, or on a mix given as TASKS,RESULTS,EVENTS. Servers are the
// run's own, behind a proxy, so that they can be restarted and their connections cut; with `--shared` those of the tests, which are left alone.
import { fork } from "node:child_process";
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { cleanUpAfter } from "./clean-up.mjs";
import { startFaultyServer } from "./faulty-server.mjs";
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
    shared: { type: "boolean", default: false },
  },
});
const [tasks, results = tasks, events = results] = values.backend.split(",");
for (const name of [tasks, results, events])
  if (!backends.includes(name))
    throw new Error(`--backend takes ${backends.join(", ")} or three of them with commas, not ${name}`);
if ([tasks, results].includes("memory"))
  throw new Error("torture needs backends that processes share; memory is of one process");

const needed = serversNeeded([tasks, results, events]);
const own = [];
if (!values.shared) {
  for (const name of needed) {
    const server = await startFaultyServer(name);
    own.push(server);
    process.env[`OMNIQ_TEST_${name.toUpperCase()}_URL`] = server.url;
  }
}
const { stop } = await startServers(needed);
const folder = makePlace("torture");
const { config, name } = writeConfig([tasks, results, events], folder);
const passOn = ["minutes", "seed", "workers", "producers"].flatMap((key) =>
  values[key] === undefined ? [] : [`--${key}`, values[key]],
);
const app = fork(`${root}apps/torture/dist/main.js`, ["--config", config, "--servers", String(own.length), ...passOn]);
// The app chooses the faults from its seed; the servers are here.
app.on("message", async ({ kind, server, crash, awayMs }) => {
  await (kind === "restart" ? own[server].restart(crash, awayMs) : own[server].cut(awayMs));
});
const status = await new Promise((resolve) => app.once("exit", resolve));
// Own servers are thrown away whole.
if (own.length === 0) await cleanUpAfter(name, [tasks, results, events]);
for (const server of own) await server.stop();
await stop();
if (status === 0) rmSync(folder, { recursive: true, force: true });
console.log(status === 0 ? "\n1 passed, 0 failed" : "\n0 passed, 1 failed");
process.exitCode = status ?? 1;
