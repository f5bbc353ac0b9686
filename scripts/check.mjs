// Types, lint, format, package layout: what can be checked without running the packages.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { followGuide } from "./guide.mjs";
import { packAll, usePacked } from "./packed.mjs";
import { bin, step } from "./steps.mjs";

/** Each check by name; a check answers whether it passed. */
export const checks = {
  types: () => step("types", process.execPath, ["scripts/build.mjs"]),
  usage: () => step("usage programs", bin("tsc"), ["--noEmit", "-p", "packages/core/type-tests"]),
  lint: () => step("lint", bin("oxlint"), ["--deny-warnings"]),
  format: () => step("format", bin("oxfmt"), ["--check", "."]),
  workspace: () => step("workspace", bin("sherif"), []),
  unused: () => step("unused files, exports and dependencies", bin("knip"), ["--no-config-hints"]),
  readme: () => step("README table of backends", process.execPath, ["scripts/capabilities.mjs"]),
  size: () => step("size of @omniq/core", process.execPath, ["scripts/size.mjs", "--check"]),
  packages: () => checkPackages(),
};

function checkPackages() {
  console.log("\n▶ packages");
  const folder = mkdtempSync(join(tmpdir(), "omniq-packages-"));
  try {
    const tarballs = packAll(folder);
    const passed = Object.values(tarballs).map((file) => {
      const published = step(`publint ${basename(file)}`, bin("publint"), ["run", file, "--strict"]);
      // ESM only by design: CommonJS users of Node 20.19 and later can require() it.
      return step(`attw ${basename(file)}`, bin("attw"), [file, "--profile", "esm-only"]) && published;
    });
    return [passed.every(Boolean), usePacked(tarballs), followGuide(tarballs)].every(Boolean);
  } catch (error) {
    console.error(error.message);
    return false;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const failed = Object.entries(checks).filter(([, check]) => !check());
  console.log(`\n${Object.keys(checks).length - failed.length} passed, ${failed.length} failed`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}
