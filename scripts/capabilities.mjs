// The README's table of backends, from the instances' own capabilities. `node scripts/capabilities.mjs --write` puts it there.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./steps.mjs";

const mark = "<!-- capabilities -->";

async function table() {
  const folder = mkdtempSync(join(tmpdir(), "omniq-capabilities-"));
  try {
    const { memory } = await import("../packages/memory/dist/index.js");
    const { file } = await import("../packages/file/dist/index.js");
    const { sqlite } = await import("../packages/sqlite/dist/index.js");
    const backends = [
      ["Memory", "@omniq/memory", memory()],
      ["File", "@omniq/file", file({ baseDir: join(folder, "files") })],
      ["SQLite", "@omniq/sqlite", sqlite({ databasePath: join(folder, "omniq.db") })],
    ];
    const yes = (value) => (value === true ? "yes" : value === false ? "no" : String(value));
    const rows = [];
    for (const [name, packageName, backend] of backends) {
      const { durable, push, reach, transactions, priorities, dependencies, groups, rateLimits } =
        backend.taskQueue().capabilities;
      const control = [priorities, dependencies, groups, rateLimits].every(Boolean);
      rows.push(
        `| ${[name, `\`${packageName}\``, yes(durable), reach, yes(push), yes(transactions), yes(control)].join(" | ")} |`,
      );
      await backend.close();
    }
    return [
      "| backend | package | durable | reach | push | transactions | priorities, dependencies, groups, limits |",
      "| --- | --- | --- | --- | --- | --- | --- |",
      ...rows,
    ].join("\n");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const readme = readFileSync(`${root}README.md`, "utf8");
const pattern = new RegExp(`${mark}\\n(\\|[^\\n]*\\n)*`);
const wanted = readme.replace(pattern, `${mark}\n${await table()}\n`);
if (process.argv.includes("--write")) writeFileSync(`${root}README.md`, wanted);
else if (wanted !== readme) {
  console.error(
    "README.md's table of backends is not what the backends say. Run: node scripts/capabilities.mjs --write",
  );
  process.exitCode = 1;
}
