// The door of a fresh clone: `node scripts/run.mjs demo`, `test` and so on installs what is missing, builds, and runs. Needs Node and npm only.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
const [step, ...rest] = process.argv.slice(2);
const steps = {
  demo: "apps/example/dist/main.js",
  test: "scripts/test.mjs",
  check: "scripts/check.mjs",
  conformance: "scripts/conformance.mjs",
  interchange: "scripts/interchange.mjs",
  torture: "scripts/torture.mjs",
  bench: "apps/bench/dist/bench.js",
  scale: "apps/bench/dist/scale.js",
};
if (!Object.hasOwn(steps, step)) throw new Error(`usage: node scripts/run.mjs ${Object.keys(steps).join("|")}`);

const environment = { ...process.env };
// better-sqlite3 is compiled where no prebuilt binary can be had; where this Node's headers are beside it, node-gyp must not fetch
// them, nor take those of another Node that a user's configuration names.
const prefix = resolve(dirname(process.execPath), "..");
if (existsSync(`${prefix}/include/node/node.h`)) environment.npm_config_nodedir = prefix;

function run(command, args, quiet = false) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    env: environment,
    stdio: quiet ? "pipe" : "inherit",
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (error) throw error;
  if (status !== 0) {
    if (quiet) process.stderr.write(`${stdout}${stderr}`);
    process.exit(status ?? 1);
  }
}

const install = ["install", "--frozen-lockfile"];
const quiet = step !== "test";
if (step === "demo") console.log("Installing and building (the first time takes about two minutes)…");
run("npx", ["--yes", manifest.packageManager, ...install], quiet);
if (step !== "test") run(process.execPath, ["scripts/build.mjs"], quiet);
run(process.execPath, [steps[step], ...rest]);
