// Installs the packed packages into an empty project and uses them as a new user would: plain JavaScript, strict TypeScript, CommonJS.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./steps.mjs";

const { packageManager } = JSON.parse(readFileSync(`${root}package.json`, "utf8"));

/** Packs every public package into the folder; answers name → tarball. */
export function packAll(folder) {
  const tarballs = {};
  for (const name of readdirSync(`${root}packages`)) {
    const before = new Set(readdirSync(folder));
    const { status, stdout, stderr } = spawnSync(
      "npx",
      ["--yes", packageManager, "pack", "--pack-destination", folder],
      { cwd: `${root}packages/${name}`, encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`packing ${name} failed: ${stdout}${stderr}`);
    tarballs[`@omniq/${name}`] = join(
      folder,
      readdirSync(folder).find((file) => !before.has(file)),
    );
  }
  return tarballs;
}

/** The README's first JavaScript example, as it stands. */
export function readmeExample() {
  const example = /<!-- example: quick-start -->\n```js\n([\s\S]*?)```/.exec(
    readFileSync(`${root}README.md`, "utf8"),
  )?.[1];
  if (example === undefined) throw new Error("README.md has no quick-start example");
  return example;
}

/** True when the packed packages work in an empty project. */
export function usePacked(tarballs) {
  const project = mkdtempSync(join(tmpdir(), "omniq-project-"));
  const run = (name, command, args) => {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: project, encoding: "utf8", timeout: 300_000 });
    const said = `${stdout}${stderr}`;
    console.log(`${status === 0 ? "✓" : "✗"} ${name}`);
    if (status !== 0) console.error(said);
    return { passed: status === 0, said };
  };
  const greeting = (name, { passed, said }) => {
    if (passed && !said.includes("Hello, Ada")) console.error(`${name} did not greet:\n${said}`);
    return passed && said.includes("Hello, Ada");
  };
  try {
    const dependencies = Object.fromEntries(Object.entries(tarballs).map(([name, file]) => [name, `file:${file}`]));
    // Linked, since compiling it takes minutes where no prebuilt binary can be had.
    const installed = ["packages/sqlite/", ""]
      .map((place) => `${root}${place}node_modules/better-sqlite3`)
      .find((path) => existsSync(path));
    if (installed !== undefined) dependencies["better-sqlite3"] = `file:${realpathSync(installed)}`;
    for (const name of ["typescript", "@types/node"])
      dependencies[name] = JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, "utf8")).version;
    writeFileSync(`${project}/package.json`, JSON.stringify({ name: "new-user", private: true, dependencies }));
    if (
      !run("npm install of the packed packages", "npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts"])
        .passed
    )
      return false;
    const example = readmeExample();
    writeFileSync(`${project}/plain.mjs`, example);
    writeFileSync(
      `${project}/typed.mts`,
      example.replace("typeOnly()", "typeOnly<{ readonly name: string }>()").replace('"./omniq.db"', '"./typed.db"'),
    );
    // As it stands: nothing need be added to it for it to compile.
    writeFileSync(`${project}/pasted.mts`, example);
    writeFileSync(
      `${project}/common.cjs`,
      `${example
        .replace(/^import (\{.*?\}) from (".*?");$/gm, "const $1 = require($2);")
        .replace('"./omniq.db"', '"./common.db"')
        .replace(/const omniq[\s\S]*/, (body) => `(async () => {\n${body}})();\n`)}`,
    );
    writeFileSync(
      `${project}/tsconfig.json`,
      JSON.stringify({
        compilerOptions: {
          target: "es2023",
          lib: ["es2023", "esnext.disposable"],
          module: "nodenext",
          strict: true,
          exactOptionalPropertyTypes: true,
          noUncheckedIndexedAccess: true,
          skipLibCheck: false,
          types: ["node"],
          outDir: "out",
        },
        files: ["typed.mts", "pasted.mts"],
      }),
    );
    const results = [
      greeting("plain JavaScript", run("plain JavaScript", process.execPath, ["plain.mjs"])),
      run("types: strict, skipLibCheck: false", join(project, "node_modules/.bin/tsc"), ["-p", "."]).passed &&
        greeting("TypeScript", run("TypeScript", process.execPath, ["out/typed.mjs"])),
      greeting("CommonJS", run("CommonJS", process.execPath, ["common.cjs"])),
    ];
    return results.every(Boolean);
  } finally {
    rmSync(project, { recursive: true, force: true });
  }
}
