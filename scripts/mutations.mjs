// `node scripts/mutations.mjs [RULE…]`: changes one line of the SQLite adapter at a time, and shows which rules' cases catch it.
// The working tree stays as it is: each change is made in a bundle of its own, which is deleted afterwards.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { root } from "./steps.mjs";

/** One line each, under the rule that it breaks. `from` stands once in the file (`nth`: there again; which one is meant). */
export const mutations = [
  {
    rule: "enqueue-idempotent",
    file: "enqueue.ts",
    from: "FROM {p}_past WHERE task_id = ? AND known_until > ?",
    to: "FROM {p}_past WHERE task_id = ? AND known_until < ?",
  },
  {
    rule: "enqueue-atomic",
    file: "enqueue.ts",
    from: `if (unknown.length > 0) tx.sql.run("ROLLBACK TO omniq_enqueue");`,
    to: "",
  },
  {
    rule: "settle-fenced",
    file: "settle.ts",
    from: "row.state !== 4 || row.token !== settlement.token",
    to: "row.state !== 4",
  },
  { rule: "no-early-delivery", file: "groups.ts", from: "if (runAt > tx.now)", to: "if (runAt > tx.now + 500)" },
  {
    rule: "order",
    file: "reserve.ts",
    from: "ORDER BY priority DESC, ready_at, seq LIMIT ?",
    to: "ORDER BY ready_at, seq LIMIT ?",
  },
  {
    rule: "release-refunds",
    file: "settle.ts",
    from: "const attempt = row.attempt - 1;",
    to: "const attempt = row.attempt;",
  },
  {
    rule: "lease-expiry-redelivers",
    file: "upkeep.ts",
    from: "const attempt = row.attempt - 1;",
    to: "const attempt = row.attempt;",
  },
  { rule: "self-upkeep", file: "reserve.ts", from: "upkeep(tx, queue, upkeepBound);", to: "" },
  { rule: "pause", file: "reserve.ts", from: "if (row.paused === 1) continue;", to: "" },
  { rule: "group-limit", file: "groups.ts", from: "let limit = slots; ;", to: "let limit = slots - 1; ;" },
  {
    rule: "queue-limit",
    file: "reserve.ts",
    from: "room = row.max_active - (counted?.n ?? 0);",
    to: "room = row.max_active;",
  },
  { rule: "rate-limit", file: "reserve.ts", from: "(started * row.rate_window) / row.rate_limit", to: "0" },
  { rule: "dependencies", file: "enqueue.ts", from: `dependency.onFailure === "run" ? 1 : 0`, to: "1" },
  { rule: "result-first-wins", file: "result-rows.ts", from: "excluded.run > run OR", to: "excluded.run >= run OR" },
  {
    rule: "event-order",
    file: "event-rows.ts",
    from: "ON CONFLICT (id) DO NOTHING",
    to: "ON CONFLICT (id) DO UPDATE SET data = excluded.data",
  },
  {
    rule: "schedule-once",
    file: "schedule-storage.ts",
    from: "revision = ? WHERE id = ? AND revision = ?",
    to: "revision = ? WHERE id = ? OR revision = ?",
  },
];

const componentOf = (rule) =>
  ({ "result-first-wins": "resultStorage", "event-order": "eventStorage", "schedule-once": "scheduleStorage" })[rule] ??
  "taskQueue";

/**
 * Runs the kit on the adapter with this change (none: as it is), in one process, with a clock of its own.
 * `rules`: only their cases. Answers the cases that passed, and the titles of those that failed by rule.
 */
export async function runMutation(mutation, options = {}) {
  const { runSuite } = await import("../packages/conformance/dist/index.js");
  // Inside the package, so that its dependencies are found.
  const cache = `${root}packages/sqlite/.omniq`;
  mkdirSync(cache, { recursive: true });
  const bundles = mkdtempSync(join(cache, "mutation-"));
  const files = mkdtempSync(join(tmpdir(), "omniq-mutation-"));
  try {
    const outfile = join(bundles, "sqlite.mjs");
    await build({
      entryPoints: [`${root}packages/sqlite/src/index.ts`],
      outfile,
      bundle: true,
      format: "esm",
      platform: "node",
      packages: "external",
      logLevel: "error",
      plugins: mutation === undefined ? [] : [changeOf(mutation)],
    });
    const { adapter } = await import(pathToFileURL(outfile).href);
    let now = Date.now();
    const clock = { now: () => now, advance: (ms) => (now += ms) };
    const report = await runSuite({
      adapter,
      options: (name) => ({ databasePath: join(files, `${name}.db`), now: clock.now, synchronous: "normal" }),
      clock,
      transaction: (name, body) => inTransaction(join(files, `${name}.db`), body),
      timeoutMs: 8_000,
      ...(mutation === undefined ? {} : { components: [componentOf(mutation.rule)] }),
      ...options,
    });
    const caught = {};
    for (const { rule, title } of report.failed) (caught[rule] ??= []).push(title);
    return { passed: report.passed, caught };
  } finally {
    rmSync(bundles, { recursive: true, force: true });
    rmSync(files, { recursive: true, force: true });
  }
}

async function inTransaction(path, body) {
  const { sqliteDriver } = await import("../packages/sqlite/dist/index.js");
  const Database = sqliteDriver();
  const database = new Database(path);
  try {
    database.exec("BEGIN IMMEDIATE");
    const answer = await body(database);
    database.exec("COMMIT");
    return answer;
  } finally {
    if (database.inTransaction) database.exec("ROLLBACK");
    database.close();
  }
}

function changeOf({ file, from, to }) {
  return {
    name: "mutation",
    setup: ({ onLoad }) =>
      onLoad({ filter: new RegExp(`sqlite/src/${file.replace(".", "\\.")}$`) }, ({ path }) => {
        const source = readFileSync(path, "utf8");
        if (source.split(from).length !== 2) throw new Error(`${file} must hold this once: ${from}`);
        return { contents: source.replace(from, () => to), loader: "ts" };
      }),
  };
}

/** A row of the table: what was changed, and how many cases of which rules failed. */
export function mutationRow({ rule, file, from, to }, { caught }) {
  const code = (text) => (text === "" ? "*(nothing)*" : `\`${text.replaceAll("|", "\\|")}\``);
  const others = Object.entries(caught)
    .filter(([other]) => other !== rule)
    .map(([other, titles]) => `\`${other}\` ${titles.length}`);
  return `| \`${rule}\` | \`${file}\` | ${code(from)} | ${code(to)} | ${caught[rule]?.length ?? 0} | ${others.join(", ")} |`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const asked = process.argv.slice(2);
  const whole = await runMutation(undefined);
  console.log(`the adapter as it is: ${whole.passed} cases pass, ${Object.values(whole.caught).flat().length} fail`);
  let missed = Object.keys(whole.caught).length;
  for (const mutation of mutations) {
    if (asked.length > 0 && !asked.includes(mutation.rule)) continue;
    const started = performance.now();
    const result = await runMutation(mutation);
    const titles = result.caught[mutation.rule] ?? [];
    if (titles.length === 0) missed++;
    const seconds = ((performance.now() - started) / 1_000).toFixed(0);
    console.log(`${mutationRow(mutation, result)} ${seconds} s`);
  }
  process.exitCode = missed === 0 ? 0 : 1;
}
