// Types, lint, format, package layout: what can be checked without running the packages.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";
import { bin, root, step } from "./steps.mjs";

/** Each check by name; a check answers whether it passed. */
export const checks = {
  types: () => step("types", process.execPath, ["scripts/build.mjs"]),
  usage: () => step("usage programs", bin("tsc"), ["--noEmit", "-p", "apps/usage"]),
  lint: () => step("lint", bin("oxlint"), ["--deny-warnings"]),
  format: () => step("format", bin("oxfmt"), ["--check", "."]),
  workspace: () => step("workspace", bin("sherif"), []),
  packages: () => checkPackages(),
};

function checkPackages() {
  console.log("\n▶ packages");
  const folder = mkdtempSync(join(tmpdir(), "omniq-packages-"));
  let passed = true;
  try {
    for (const name of readdirSync(`${root}packages`)) {
      const packed = spawnSync("npx", ["--yes", "pnpm@12.21.0", "pack", "--pack-destination", folder], { cwd: `${root}packages/${name}`, encoding: "utf8" });
      if (packed.status !== 0) {
        console.error(packed.stdout, packed.stderr);
        passed = false;
      }
    }
    for (const tarball of readdirSync(folder)) {
      const file = join(folder, tarball);
      if (!step(`publint ${tarball}`, bin("publint"), ["run", file, "--strict"])) passed = false;
      // ESM only by design: CommonJS users of Node 20.19 and later can require() it.
      if (!step(`attw ${tarball}`, bin("attw"), [file, "--profile", "esm-only"])) passed = false;
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  console.log(`${passed ? "✓" : "✗"} packages`);
  return passed;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const failed = Object.entries(checks).filter(([, check]) => !check());
  console.log(`\n${Object.keys(checks).length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
