// Every public package has a README in the fixed order, whose code compiles and runs. Loads `dist`, so build first.
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../../../", import.meta.url));
const packages = readdirSync(join(root, "packages")).filter((name) =>
  existsSync(join(root, "packages", name, "package.json")),
);
/** The order in which the sections of every README stand; each package has those that fit it, and its own between them. */
const order = ["Install", "Use", "Options", "Capabilities", "Limits", "License"];

/** Empty where there is none, so that the package's own test fails and not all of them. */
function textOf(name: string): string {
  const path = join(root, "packages", name, "README.md");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
/** Blocks of code, but those that say why they are not run. */
function blocksOf(name: string): readonly string[] {
  const blocks = textOf(name).matchAll(/(<!-- not run: [^\n]+ -->\n)?```(?:ts|js)\n([\s\S]*?)```/g);
  return [...blocks].filter(([, not]) => not === undefined).map(([, , code]) => code ?? "");
}
/** Where the servers of this run listen, in place of the standard ports that the text shows: a fresh machine has none there. */
const addresses: readonly (readonly [shown: RegExp, here: string | undefined])[] = [
  [/nats:\/\/localhost:4222/g, process.env["OMNIQ_TEST_NATS_URL"]],
  [/postgresql:\/\/postgres@127\.0\.0\.1:5432\/postgres/g, process.env["OMNIQ_TEST_POSTGRES_URL"]],
  [/host: "127\.0\.0\.1", port: 6379/g, redisHere(process.env["OMNIQ_TEST_REDIS_URL"])],
];
function redisHere(url: string | undefined): string | undefined {
  if (url === undefined) return undefined;
  const { hostname, port } = new URL(url);
  return `host: ${JSON.stringify(hostname)}, port: ${port || 6379}`;
}
const here = (code: string): string =>
  addresses.reduce((text, [shown, there]) => (there === undefined ? text : text.replaceAll(shown, there)), code);
const programs = packages.flatMap((name) => blocksOf(name).map((code, index) => ({ name, code, index: index + 1 })));
const folders = new Map<string, string>();

beforeAll(() => {
  for (const name of packages) {
    // Inside the package, so that what it depends on is found.
    const cache = join(root, "packages", name, ".omniq");
    mkdirSync(cache, { recursive: true });
    const folder = mkdtempSync(join(cache, "readme-"));
    folders.set(name, folder);
    for (const { index, code } of programs.filter((one) => one.name === name))
      writeFileSync(join(folder, `example-${index}.ts`), code.includes("await") ? `${code}export {};\n` : code);
  }
});
afterAll(() => {
  for (const folder of folders.values()) rmSync(folder, { recursive: true, force: true });
});

describe.each(packages)("README of %s", (name) => {
  test("has the sections in the fixed order, and code that is run", () => {
    const sections = [...textOf(name).matchAll(/^## (.+)$/gm)].map(([, title]) => title ?? "");
    expect(sections).toEqual(expect.arrayContaining(["Install", "Use"]));
    expect(sections.filter((title) => order.includes(title))).toEqual(
      order.filter((title) => sections.includes(title)),
    );
    expect(blocksOf(name).length).toBeGreaterThan(0);
  });
});

test("the code compiles, strictly", async () => {
  const project = join(folders.get("core") ?? "", "tsconfig.json");
  const base = join(root, "packages/core/type-tests/tsconfig.json");
  const files = programs.map(({ name, index }) => join(folders.get(name) ?? "", `example-${index}.ts`));
  writeFileSync(
    project,
    JSON.stringify({ extends: base, compilerOptions: { noUnusedLocals: false }, include: [], files }),
  );
  const { stdout } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", project]).catch(
    (error: unknown) => error as { readonly stdout: string },
  );
  expect(stdout).toBe("");
});

test.each(programs)("the code of $name, example $index, runs", async ({ name, index, code }) => {
  const folder = folders.get(name) ?? "";
  const program = join(folder, `example-${index}.mjs`);
  writeFileSync(program, (await transform(here(code), { loader: "ts", format: "esm", target: "node20" })).code);
  const { NODE_TEST_CONTEXT: _context, ...env } = process.env;
  await run(process.execPath, [program], { cwd: folder, env, timeout: 60_000, maxBuffer: 16 * 1024 * 1024 });
});
