// Which better-sqlite3 is taken: one that this Node can run, and none that would end the process.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Folder } from "./harness.ts";

let folder: Folder;
beforeEach(() => (folder = new Folder()));
afterEach(() => folder.remove());

/** Installs a better-sqlite3 of this version in the application's folder, and asks the driver, as seen from a place that has none. */
function driverWith(version: string | undefined): string {
  const installed = join(folder.path, "node_modules", "better-sqlite3");
  if (version !== undefined) {
    mkdirSync(installed, { recursive: true });
    writeFileSync(join(installed, "package.json"), JSON.stringify({ version, main: "index.js" }));
    writeFileSync(join(installed, "index.js"), "module.exports = class Loaded {}");
  }
  // What a bundle of CommonJS leaves of `import.meta.url`.
  const file = fileURLToPath(new URL("../dist/driver.js", import.meta.url));
  const program = `
    const text = require("node:fs").readFileSync(process.argv[1], "utf8").replaceAll("import.meta.url", "undefined");
    require("node:fs").writeFileSync("driver.mjs", text.replaceAll("@omniq/core", process.argv[2]));
    import(process.cwd() + "/driver.mjs").then(({ sqliteDriver }) => console.log(sqliteDriver().name))
      .catch((error) => console.log(error.code, error.message));
  `;
  const core = new URL("../../core/dist/index.js", import.meta.url).href;
  const { stdout, stderr } = spawnSync(process.execPath, ["--eval", program, file, core], {
    cwd: folder.path,
    encoding: "utf8",
  });
  return `${stdout}${stderr}`.trim();
}

const modern = Number(process.versions.node.split(".")[0]) >= 22;

test("the application's own is found, and used where this Node runs it", () => {
  expect(driverWith(modern ? "13.2.0" : "12.11.1")).toBe("Loaded");
});

test("a version that would end this process is not loaded; the error says which to install", () => {
  const wrong = modern ? (process.versions.node >= "24.19" ? "12.11.1" : undefined) : "13.2.0";
  expect(driverWith(wrong)).toMatch(
    new RegExp(
      `^OMNIQ_ADAPTER_NOT_FOUND .*${wrong ?? "found no better-sqlite3"}.*npm install better-sqlite3@${modern ? 13 : 12}$`,
      "u",
    ),
  );
});
