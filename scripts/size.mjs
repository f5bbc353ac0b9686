// Prints the minified and gzipped size of @omniq/core, without its dependencies.
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
console.log(
  `@omniq/core: ${(code.byteLength / 1024).toFixed(1)} KiB minified, ${(gzipSync(code, { level: 9 }).byteLength / 1024).toFixed(1)} KiB gzipped`,
);
