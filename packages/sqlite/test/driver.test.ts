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

/** Installs these as better-sqlite3 in the application's folder, and asks the driver, as seen from a place that has none. */
function driverWith(version: string, program = "module.exports = class Loaded {}"): string {
  // Under both of its names, so that none is found in a folder above.
  for (const name of ["better-sqlite3", "better-sqlite3-12"]) {
    const installed = join(folder.path, "node_modules", name);
    mkdirSync(installed, { recursive: true });
    writeFileSync(join(installed, "package.json"), JSON.stringify({ version, main: "index.js" }));
    writeFileSync(join(installed, "index.js"), program);
  }
  // What a bundle of CommonJS leaves of `import.meta.url`.
  const file = fileURLToPath(new URL("../dist/driver.js", import.meta.url));
  const script = `
    const text = require("node:fs").readFileSync(process.argv[1], "utf8").replaceAll("import.meta.url", "undefined");
    require("node:fs").writeFileSync("driver.mjs", text.replaceAll("@omniq/core", process.argv[2]));
    import(process.cwd() + "/driver.mjs").then(({ sqliteDriver }) => console.log(sqliteDriver().name))
      .catch((error) => console.log(error.code, error.message));
  `;
  const core = new URL("../../core/dist/index.js", import.meta.url).href;
  const { stdout, stderr } = spawnSync(process.execPath, ["--eval", script, file, core], {
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
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  // On the Nodes between, every version runs, and only one that can't be loaded is refused.
  const wrong = !modern ? "13.2.0" : major > 24 || (major === 24 && minor >= 19) ? "12.11.1" : undefined;
  const said = wrong === undefined ? driverWith("13.2.0", "throw new Error()") : driverWith(wrong);
  expect(said).toMatch(/^OMNIQ_ADAPTER_NOT_FOUND /u);
  expect(said).toContain(wrong === undefined ? "found no better-sqlite3" : `version ${wrong} is installed`);
  expect(said).toMatch(modern ? /better-sqlite3@13$/u : /better-sqlite3@12$/u);
});
