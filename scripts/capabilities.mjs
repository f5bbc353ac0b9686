// The README's table of backends, from the instances' own capabilities. `node scripts/capabilities.mjs --write` puts it there.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./steps.mjs";

const mark = "<!-- capabilities -->";

/** Makes a backend of each type; none connects before it is asked for something. */
const known = (folder) => [
  ["Memory", "memory", {}],
  ["SQLite", "sqlite", { databasePath: join(folder, "omniq.db") }],
  ["PostgreSQL", "postgres", { dsn: "postgresql://127.0.0.1/omniq" }],
  ["Redis", "redis", { host: "127.0.0.1" }],
  ["NATS", "nats", { servers: ["nats://127.0.0.1:4222"] }],
  ["File", "file", { baseDir: join(folder, "files") }],
];

async function table() {
  const folder = mkdtempSync(join(tmpdir(), "omniq-capabilities-"));
  try {
    const backends = [];
    for (const [name, type, options] of known(folder)) {
      if (!existsSync(`${root}packages/${type}/dist/index.js`)) continue;
      const { adapter } = await import(`../packages/${type}/dist/index.js`);
      backends.push([name, `@omniq/${type}`, adapter(options)]);
    }
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
