// `pnpm torture --backend X --minutes M --seed S`: the torture app on a backend, or on a mix given as TASKS,RESULTS,EVENTS. Servers are the
// run's own, behind a proxy, so that they can be restarted, their connections cut and their clocks set; with `--shared` those of the tests, which
// are left alone. Cloud stores (s3, gcs, azure) are stand-ins with ambiguous writes, and so is the folder `faulty`. `--no-clock` leaves all clocks alone;
// `--pass-by N` stops workers on a file store until the log has passed them by.
import { fork } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { clockEnvironment, setClock } from "../apps/torture/dist/clocks.js";
import { cleanUpAfter } from "./clean-up.mjs";
import { findClockLibrary } from "./clock-library.mjs";
import { clouds, startFaultyCloud } from "./cloud-stand.mjs";
import { startFaultyServer } from "./faulty-server.mjs";
import { addFaultyStore, faultyOptions } from "./faulty-folder.mjs";
import { backends, makePlace, writeConfig } from "./interchange.mjs";
import { passBy, storeOf } from "./pass-by.mjs";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";
import { readArguments, refuse } from "./usage.mjs";

const known = [...backends, ...clouds, "faulty"];
const usage = `pnpm torture --backend X[,Y[,Z]] --minutes M --seed S
  --backend       of all components, or of tasks, results and events: ${known.join(", ")}; default sqlite
  --minutes       how long; default 1
  --seed          which faults; printed, and the same again where it is given
  --workers, --producers, --every, --lease   processes, ms between faults, ms of a lease
  --shared        on the servers of the tests, which are left alone
  --no-clock      all clocks are left alone
  --round-trip    ms of a request to a cloud store; default 50
  --faults        which share of them goes wrong; default 0.03
  --pass-by       how many workers on a file store are stopped until the log has passed them by`;
const { values } = readArguments(usage, {
  options: {
    backend: { type: "string", default: "sqlite" },
    minutes: { type: "string", default: "1" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    workers: { type: "string" },
    producers: { type: "string" },
    every: { type: "string" },
    shared: { type: "boolean", default: false },
    "no-clock": { type: "boolean", default: false },
    // What a request to a cloud store takes, and which share of them goes wrong.
    "round-trip": { type: "string", default: "50" },
    faults: { type: "string", default: "0.03" },
    "pass-by": { type: "string", default: "0" },
    lease: { type: "string" },
  },
});
const [tasks, results = tasks, events = results] = values.backend.split(",");
const types = [tasks, results, events];
for (const type of types)
  if (!known.includes(type))
    refuse(usage, `--backend takes ${known.join(", ")} or up to three of them with commas, not ${type}`);
for (const option of ["minutes", "seed"])
  if (!(Number(values[option]) >= 0)) refuse(usage, `--${option} takes a number, not ${values[option]}`);
const far = types.some((type) => clouds.includes(type));

/** Whose clocks are set: where a store takes the host's for its own, all at once, as on one host; else those of single processes. */
const library = values["no-clock"] ? undefined : findClockLibrary();
const hostClock = library !== undefined && types.some((type) => ["memory", "sqlite", "file", "faulty"].includes(type));

const own = [];
const needed = serversNeeded(types);
if (!values.shared) {
  for (const name of needed) {
    const server = await startFaultyServer(name, hostClock ? undefined : library);
    own.push(server);
    process.env[`OMNIQ_TEST_${name.toUpperCase()}_URL`] = server.url;
  }
}
for (const kind of clouds.filter((cloud) => types.includes(cloud)))
  own.push(
    await startFaultyCloud(kind, {
      seed: Number(values.seed),
      share: Number(values.faults),
      roundTripMs: Number(values["round-trip"]),
    }),
  );
const { stop } = await startServers(needed);
const folder = makePlace("torture");
const leaseMs = Number(values.lease ?? (far ? 30_000 : 3_000));
// Far below what is right, so that stopped processes are passed by deletions: by dates on cloud stores, by lists in a folder. The lease is what a
// cloud store needs at least while a dozen processes race for each commit.
const tuning = { minimum_lease_ms: leaseMs, checkpoint_bytes: 20_000 };
const passing = Number(values["pass-by"]) > 0;
const onFolder = { ...tuning, deletion_grace_ms: 2_000 };
const faulty = { ...onFolder, ...faultyOptions(folder, { share: Number(values.faults), seed: Number(values.seed) }) };
const { config, name } = writeConfig(
  types.map((type) => (type === "faulty" ? "file" : type)),
  folder,
  {
    ...Object.fromEntries(clouds.map((cloud) => [cloud, { ...tuning, deletion_grace_ms: 12_000 }])),
    ...(types.includes("faulty") ? { file: faulty } : passing ? { file: onFolder } : {}),
  },
);
if (types.includes("faulty")) addFaultyStore(folder);
const store = passing ? await storeOf(config) : undefined;
if (types.includes("memory")) {
  // Every lost lease is told of in this process; elsewhere nobody hears it.
  writeFileSync(config, JSON.stringify({ ...JSON.parse(readFileSync(config, "utf8")), log_level: "error" }));
}
const clockFile = join(folder, "clock");
if (hostClock) setClock(clockFile, 0);
const given = {
  config,
  minutes: values.minutes,
  seed: values.seed,
  workers: values.workers ?? (far ? "8" : undefined),
  producers: values.producers ?? (far ? "3" : undefined),
  // Processes need seconds to start where they load a cloud's SDK; killed sooner than that, they do nothing but start.
  every: values.every ?? (far ? "4000" : undefined),
  servers: JSON.stringify(own.map(({ restarts, clock }) => ({ restarts, clock }))),
  "clock-library": hostClock ? undefined : library,
  "host-clock": hostClock ? clockFile : undefined,
  tolerance: far ? "1100" : undefined,
  "pass-by": values["pass-by"],
};
const options = Object.entries(given).flatMap(([key, value]) => (value === undefined ? [] : [`--${key}`, value]));
if (types.includes("memory")) options.push("--in-process");
const app = fork(`${root}apps/torture/dist/main.js`, options, {
  env: {
    ...process.env,
    TORTURE_LEASE_MS: String(leaseMs),
    ...(hostClock ? clockEnvironment(library, clockFile) : {}),
  },
});
// The app chooses the faults from its seed; the servers are here. One that is being started again is not ended before it is there.
const restarts = own.map(() => Promise.resolve());
app.on("message", async ({ id, fault }) => {
  if (fault.kind === "pass-by") {
    const passed = await passBy(store, fault.pid).catch((error) => {
      console.log(`process ${fault.pid} was not passed by: ${error}`);
      return false;
    });
    if (app.connected) app.send({ id, passed });
    return;
  }
  const server = own[fault.server];
  if (fault.kind === "restart")
    await (restarts[fault.server] = restarts[fault.server].then(() => server.restart(fault.crash, fault.awayMs)));
  else if (fault.kind === "cut") await server.cut(fault.awayMs);
  else server.setClock(fault.offMs);
  if (app.connected) app.send({ id });
});
const status = await new Promise((resolve) => app.once("exit", resolve));
// Own servers are thrown away whole.
if (values.shared) await cleanUpAfter(name, types);
for (const server of own) {
  if (server.report !== undefined) console.log(server.report());
  await server.stop();
}
await store?.close();
await stop();
if (status === 0) rmSync(folder, { recursive: true, force: true });
if (library === undefined) console.log("Clocks were left alone.");
console.log(status === 0 ? "\n1 passed, 0 failed" : "\n0 passed, 1 failed");
process.exitCode = status ?? 1;
