// `pnpm interchange [--all | --clouds] [--slice I/N] [BACKEND…]`: the example app on combinations of backends, by configuration alone; all must show
// the same results. Without `--all` a selection in which every pair of backends meets in every pair of components; with `--clouds` each cloud store
// for everything, and for each component beside others. A slice is every N-th of them.
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { cleanUpAfter } from "./clean-up.mjs";
import { cloudOptions, clouds, startCloud } from "./cloud-stand.mjs";
import { serversNeeded, startServers } from "./servers.mjs";
import { root } from "./steps.mjs";
import { readArguments, refuse } from "./usage.mjs";

const run = promisify(execFile);

/** What describes each backend, with names of this run's own so that nothing else is touched. */
const descriptions = {
  memory: ({ name }) => ({ type: "memory", name }),
  sqlite: ({ folder }) => ({ type: "sqlite", database_path: join(folder, "omniq.db") }),
  postgres: ({ name }) => ({ type: "postgres", dsn: process.env.OMNIQ_TEST_POSTGRES_URL, schema: name }),
  redis: ({ name }) => ({ type: "redis", url: process.env.OMNIQ_TEST_REDIS_URL, prefix: name }),
  nats: ({ name }) => ({ type: "nats", servers: [process.env.OMNIQ_TEST_NATS_URL], prefix: name }),
  file: ({ folder }) => ({ type: "file", base_dir: join(folder, "files") }),
  ...Object.fromEntries(clouds.map((kind) => [kind, ({ name }) => ({ type: "file", ...cloudOptions(kind, name) })])),
};

/** The backends whose adapters are here; cloud stores stand apart. */
export const backends = Object.keys(descriptions).filter((name) => existsSync(`${root}packages/${name}/package.json`));

/** Task queue × result storage × event storage: all, or the Latin square in which every pair meets. */
export function combinations(names, all) {
  const chosen = [];
  for (const [i, tasks] of names.entries()) {
    for (const [j, results] of names.entries()) {
      if (all) for (const events of names) chosen.push([tasks, results, events]);
      else chosen.push([tasks, results, names[(i + j) % names.length]]);
    }
  }
  return chosen;
}

/** Each cloud store for all three components, each as one of them beside each of `others`, and all three together in each order. */
export function cloudCombinations(others) {
  const chosen = clouds.map((cloud) => [cloud, cloud, cloud]);
  for (const cloud of clouds)
    for (const other of others)
      for (const place of [0, 1, 2]) chosen.push([0, 1, 2].map((index) => (index === place ? cloud : other)));
  for (const shift of [0, 1, 2]) chosen.push(clouds.map((_, index) => clouds[(index + shift) % clouds.length]));
  return chosen;
}

/** A folder of documents that is the same in every run. */
export function makeDocuments(folder) {
  mkdirSync(folder, { recursive: true });
  for (let index = 0; index < 24; index++) {
    const lines = Array.from(
      { length: index * 3 + 1 },
      (_, line) => `Line ${line} of document ${index}, see https://example.com/${index}/${line}.`,
    );
    writeFileSync(join(folder, `document-${String(index).padStart(2, "0")}.md`), `${lines.join("\n")}\n`);
  }
  return folder;
}

/** A folder for a run's configuration and data inside an app, from where the adapters' packages are found. */
export function makePlace(app) {
  mkdirSync(`${root}apps/${app}/.omniq`, { recursive: true });
  return mkdtempSync(`${root}apps/${app}/.omniq/run-`);
}

/** Writes a configuration with names of its own, with `more` options for those types; answers its path and the name on servers. */
export function writeConfig([tasks, results, events], folder, more = {}) {
  const place = { folder, name: `omniq_x_${randomBytes(6).toString("hex")}` };
  const described = (type) => ({ ...descriptions[type](place), ...more[type] });
  const config = join(folder, "omniq.json");
  const text = JSON.stringify({
    task_queue: described(tasks),
    result_storage: described(results),
    event_storage: described(events),
  });
  writeFileSync(config, text);
  return { config, name: place.name };
}

/** Runs the example on one combination; answers the part of its output that must not depend on the backends. */
export async function runCombination([tasks, results, events], documents) {
  const folder = makePlace("example");
  const { config, name } = writeConfig([tasks, results, events], folder);
  try {
    const { stdout } = await run(
      process.execPath,
      [`${root}apps/example/dist/main.js`, "--config", config, "--dir", documents, "--workers", "1", "--rows", "30"],
      { timeout: 120_000 },
    );
    return (
      stdout
        .split("\n")
        // How wide a column is depends on times.
        .map((line) => line.replaceAll(/ +/g, " "))
        .filter((line) => /document-\d+\.md +│|24 files +│|tasks that were retried|lost +│|recorded twice/.test(line))
        .join("\n")
    );
  } finally {
    await cleanUpAfter(name, [tasks, results, events]);
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const usage = `pnpm interchange [--all | --clouds] [--slice I/N] [BACKEND…]
  --all      every combination of the backends, not just a selection in which all pairs meet
  --clouds   each cloud store for everything, and beside others
  --slice    the I-th of N parts, such as 1/4
  backends   ${backends.join(", ")}`;
  const { values, positionals: named } = readArguments(usage, {
    options: {
      all: { type: "boolean", default: false },
      clouds: { type: "boolean", default: false },
      slice: { type: "string", default: "1/1" },
    },
    allowPositionals: true,
  });
  const [slice = 0, slices = 0] = values.slice.split("/").map(Number);
  if (!(Number.isInteger(slice) && Number.isInteger(slices) && slice >= 1 && slice <= slices))
    refuse(usage, `--slice takes I/N with I from 1 to N, such as 1/4, not ${values.slice}`);
  const stranger = named.find((name) => !backends.includes(name));
  if (stranger !== undefined) refuse(usage, `There is no backend ${stranger}`);
  const names = named.length > 0 ? named : backends;
  const { stop } = await startServers(serversNeeded(names));
  const stands = values.clouds ? await Promise.all(clouds.map(startCloud)) : [];
  const base = mkdtempSync(join(tmpdir(), "omniq-documents-"));
  const documents = makeDocuments(join(base, "documents"));
  let passed = 0;
  let failed = 0;
  let expected;
  const every = values.clouds ? cloudCombinations(names) : combinations(names, values.all);
  const chosen = every.filter((_, index) => index % slices === slice - 1);
  for (const combination of chosen) {
    const started = Date.now();
    const seen = await runCombination(combination, documents).catch(
      (error) => `${error.message}\n${error.stderr ?? ""}`,
    );
    expected ??= seen;
    const same = seen === expected && /lost +│ +0 │/.test(seen);
    if (same) passed++;
    else failed++;
    console.log(
      `${same ? "✓" : "✗"} tasks ${combination[0]}, results ${combination[1]}, events ${combination[2]} (${((Date.now() - started) / 1_000).toFixed(1)} s)`,
    );
    if (!same) console.log(seen);
  }
  rmSync(base, { recursive: true, force: true });
  for (const stand of stands) await stand.stop();
  await stop();
  console.log(`\n${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}
