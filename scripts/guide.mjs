// The guide "Write an adapter": its code is apps/adapter-example's (`--write` puts it there), and following it must give a passing adapter.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./steps.mjs";

const guidePath = `${root}docs/write-an-adapter.md`;
const example = `${root}apps/adapter-example/`;
const block = /<!-- file: (\S+) -->\n```(\w+)\n([\s\S]*?)```\n/g;

/** The files that the guide tells its reader to write, by path. */
export function guideFiles(text = readFileSync(guidePath, "utf8")) {
  return Object.fromEntries([...text.matchAll(block)].map(([, path, , code]) => [path, code]));
}

/** The guide with the code of the example app in it. Files that are the reader's own (package.json, tsconfig.json) stay. */
export function withExample(text) {
  return text.replace(block, (whole, path, language) =>
    path.endsWith(".ts")
      ? `<!-- file: ${path} -->\n\`\`\`${language}\n${readFileSync(example + path, "utf8")}\`\`\`\n`
      : whole,
  );
}

/**
 * Follows the guide to the letter in an empty folder: its commands and its files, in its order. The only changes: packages that are not
 * published yet come from their tarballs, and tools in the versions of this workspace. True when every command succeeds.
 */
export function followGuide(tarballs) {
  const folder = mkdtempSync(join(tmpdir(), "omniq-guide-"));
  let place = folder;
  let passed = true;
  try {
    const text = readFileSync(guidePath, "utf8");
    const steps = /<!-- file: (\S+) -->\n```\w+\n([\s\S]*?)```\n|```sh\n([\s\S]*?)```\n/g;
    for (const [, path, code, commands] of text.matchAll(steps)) {
      if (path !== undefined) {
        mkdirSync(dirname(join(place, path)), { recursive: true });
        writeFileSync(join(place, path), code);
        continue;
      }
      for (const command of commands.trim().split("\n")) {
        const change = /^cd (\S+)$/.exec(command);
        if (change !== null) {
          place = join(place, change[1]);
          continue;
        }
        const { status, stdout, stderr } = spawnSync(local(command, tarballs), {
          cwd: place,
          shell: true,
          encoding: "utf8",
          timeout: 300_000,
          env: { ...process.env, NO_COLOR: "1", npm_config_audit: "false", npm_config_fund: "false" },
        });
        console.log(`${status === 0 ? "✓" : "✗"} guide: ${command}`);
        const count = command === "npm test" ? / +Tests +\d+ passed \(\d+\)/.exec(stdout)?.[0] : "";
        if (count !== "") console.log(count ?? "no test passed");
        if (status !== 0 || count === undefined) {
          console.error(`${stdout}${stderr}`);
          passed = false;
        }
      }
    }
    return passed;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A command with packages of this workspace as tarballs, and tools pinned to its versions. */
function local(command, tarballs) {
  if (!command.startsWith("npm install")) return command;
  const version = (name) => JSON.parse(readFileSync(`${root}node_modules/${name}/package.json`, "utf8")).version;
  const names = command.split(" ").flatMap((word) => {
    if (tarballs[word] !== undefined) return [tarballs[word]];
    return ["vitest", "typescript", "@types/node"].includes(word) ? [`${word}@${version(word)}`] : [word];
  });
  // What the kit itself depends on, as it is not published yet either.
  return [...names, tarballs["@omniq/memory"], tarballs["@omniq/replica"]].join(" ");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  if (process.argv.includes("--write")) writeFileSync(guidePath, withExample(readFileSync(guidePath, "utf8")));
  else {
    const { packAll } = await import("./packed.mjs");
    const folder = mkdtempSync(join(tmpdir(), "omniq-guide-packages-"));
    process.exitCode = followGuide(packAll(folder)) ? 0 : 1;
    rmSync(folder, { recursive: true, force: true });
  }
}
