// Prints the minified and gzipped size of @omniq/core, without its dependencies. `--write` puts it into the README, `--check` compares.
import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { root } from "./steps.mjs";

const { outputFiles } = await build({
  entryPoints: [`${root}packages/core/dist/index.js`],
  bundle: true,
  minify: true,
  write: false,
  splitting: false,
  format: "esm",
  platform: "node",
  packages: "external",
});
const code = outputFiles[0].contents;
const kib = (bytes) => Math.round(bytes / 1024);
const size = `${kib(code.byteLength)} KiB minified, ${kib(gzipSync(code, { level: 9 }).byteLength)} KiB gzipped`;
console.log(`@omniq/core: ${size}`);

const path = `${root}packages/core/README.md`;
const readme = readFileSync(path, "utf8");
const wanted = readme.replace(/(<!-- size -->\n\*\*Size:\*\* )\d+ KiB minified, \d+ KiB gzipped/, `$1${size}`);
if (process.argv.includes("--write")) writeFileSync(path, wanted);
else if (process.argv.includes("--check")) {
  // A change of a kibibyte or two is no news.
  const numbers = (text) => [.../<!-- size -->\n\D*(\d+) KiB minified, (\d+) KiB/.exec(text)].slice(1).map(Number);
  const apart = numbers(readme).map((stated, index) => Math.abs(stated - numbers(wanted)[index]));
  if (apart.length !== 2 || apart.some((difference) => difference > 2)) {
    console.error("packages/core/README.md gives another size. Run: node scripts/size.mjs --write");
    process.exitCode = 1;
  }
}
