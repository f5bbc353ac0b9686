// A folder whose writes are ambiguous, as a store of its own package, which is how a third party would add one to `@omniq/file`.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Options of `@omniq/file` for one in the folder of a run; `share` of the writes go wrong, by the seed. */
export function faultyOptions(folder, { share, seed }) {
  return { base_dir: "faulty://data", storage_options: { path: join(folder, "files"), share, seed } };
}

/** Puts the package where the run's configuration finds it. */
export function addFaultyStore(folder) {
  const place = join(folder, "node_modules/@omniq/file-faulty");
  mkdirSync(place, { recursive: true });
  writeFileSync(
    join(place, "package.json"),
    JSON.stringify({ name: "@omniq/file-faulty", version: "1.0.0", type: "module", exports: "./index.js" }),
  );
  const module = new URL("../apps/test-stores/dist/faulty-folder.js", import.meta.url).href;
  writeFileSync(join(place, "index.js"), `export { store } from ${JSON.stringify(module)};\n`);
}
