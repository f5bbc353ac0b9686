// `node scripts/schedules.mjs --count N --seed S`: thousands of random schedules of the File backend's commit log, as many of each kind, and how
// often each scenario of the protocol's model came up. With `--mutants` it breaks one line of the protocol at a time, and shows that
// schedules catch it. The working tree stays as it is: everything runs from a bundle that is deleted afterwards.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { root } from "./steps.mjs";
import { readArguments } from "./usage.mjs";

/** One change each; `from` stands once in the file. */
const mutants = [
  {
    breaks: "an answer of any age is trusted",
    file: "file/src/trust.ts",
    from: "return position >= this.#proof.from && date - this.#proof.time <= this.#graceMs / 2;",
    to: "return true;",
  },
  {
    breaks: "the floor is the checkpoint before the right one",
    file: "file/src/trust.ts",
    from: "floor: positions[1] ?? 0",
    to: "floor: positions[2] ?? 0",
  },
  {
    breaks: "an absence is the end of the log without proof",
    file: "file/src/commit-log.ts",
    from: `if (!this.#trust.isYoung(position, first.date) && !(await this.#trust.passesList(position)))
        return { state: "stale" };
      this.#width = 1;`,
    to: "this.#width = 1;",
  },
  {
    breaks: "a created commit is acknowledged without proof",
    file: "file/src/commit-log.ts",
    from: `if (!this.#trust.isYoung(position, date) && !(await this.#trust.passesList(position))) return { state: "stale" };`,
    to: "",
  },
  {
    breaks: "a read commit is applied without proof",
    file: "file/src/commit-log.ts",
    from: "if (!isListed && !this.#trust.isYoung(next, date)) {",
    to: "if (false) {",
  },
  {
    breaks: "a list from before the answer is proof enough",
    file: "file/src/trust.ts",
    from: "readCheckpoints(await this.#list())",
    to: "readCheckpoints(await (this.kept ??= this.#list()))",
  },
  {
    breaks: "whoever finds its manifest there takes it for another's",
    file: "file/src/checkpoints.ts",
    from: "if (standing?.parts[0]?.key !== parts[0]?.key)",
    to: "if (true)",
  },
  {
    breaks: "parts of a manifest that is about to come are deleted",
    file: "file/src/checkpoints.ts",
    from: "(positionOfPart(key) ?? Number.POSITIVE_INFINITY) <= newest",
    to: "true",
  },
  {
    breaks: "commits are deleted up to the newest old checkpoint",
    file: "file/src/checkpoints.ts",
    from: "const cut = old[1] ?? 0;",
    to: "const cut = old[0] ?? 0;",
  },
  {
    breaks: "commits are deleted at once",
    file: "file/src/checkpoints.ts",
    from: "date - lastModified > graceMs",
    to: "date - lastModified > -graceMs",
  },
  {
    breaks: "deletion waits until the newest checkpoints of all are old",
    file: "file/src/checkpoints.ts",
    from: "const cut = old[1] ?? 0;",
    to: "const cut = old.includes(positions[0]) ? (positions[1] ?? 0) : 0;",
  },
  {
    breaks: "parts that no manifest names stay",
    file: "file/src/checkpoints.ts",
    from: "await this.#deleteParts(remaining);",
    to: "",
  },
  {
    breaks: "an unknown lane is always accepted",
    file: "replica/src/machine.ts",
    from: "known === undefined && (n !== 1 || lane.since < this.#floor)",
    to: "false",
  },
  {
    breaks: "an eviction does not raise the floor",
    file: "replica/src/machine.ts",
    from: "this.#floor = Math.max(this.#floor, oldest[1].usedAt);",
    to: "",
  },
  {
    breaks: "a refused request that is in doubt is sent again",
    file: "replica/src/sender.ts",
    from: "if (inDoubt) {",
    to: "if (false) {",
  },
];

const { values } = readArguments("node scripts/schedules.mjs [--count N] [--seed S] [--mutants]", {
  options: {
    count: { type: "string", default: "5000" },
    seed: { type: "string", default: "1" },
    mutants: { type: "boolean", default: false },
  },
});
const [count, seed] = [Number(values.count), Number(values.seed)];
const folder = mkdtempSync(join(root, "packages/file/node_modules/.schedules-"));

/** The schedules with the sources, one of them changed. */
async function load(name, mutant) {
  const change = {
    name: "change",
    setup: (build) =>
      build.onLoad({ filter: /packages\/(file|replica)\/src\/.*\.ts$/ }, ({ path }) => {
        if (mutant === undefined || !path.endsWith(`packages/${mutant.file}`)) return undefined;
        const text = readFileSync(path, "utf8");
        if (text.split(mutant.from).length !== 2) throw new Error(`${mutant.file} no longer has once: ${mutant.from}`);
        return { contents: text.replace(mutant.from, () => mutant.to), loader: "ts" };
      }),
  };
  const outdir = join(folder, name);
  await build({
    stdin: {
      contents: `export * from "./schedules.ts"; export * from "./protocol-oracle.ts"; export * from "./protocol-run.ts";`,
      resolveDir: `${root}packages/file/test`,
    },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    conditions: ["@omniq/source"],
    plugins: [change],
    // What is imported later stays a file of its own.
    splitting: true,
    outdir,
    outExtension: { ".js": ".mjs" },
    logLevel: "error",
  });
  return await import(pathToFileURL(join(outdir, "stdin.mjs")).href);
}

/** Runs schedules, the kinds in turn. Stops at the first violation. */
async function runAll({ kinds, kindNames, runSchedule, noScenarios, addUp, Violation }) {
  const total = noScenarios();
  for (let index = 0; index < count; index++) {
    const kind = kindNames[index % kindNames.length];
    try {
      addUp(total, await runSchedule({ ...kinds[kind], seed: seed + index }));
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      return { schedules: index + 1, total, violation: `${kind}, ${error.message}` };
    }
  }
  return { schedules: count, total, violation: undefined };
}

let failed = 0;
try {
  if (values.mutants) {
    for (const [index, mutant] of mutants.entries()) {
      const { schedules, violation } = await runAll(await load(`mutant-${index}`, mutant));
      if (violation === undefined) failed++;
      console.log(
        `${violation === undefined ? "NOT CAUGHT" : "caught"} after ${schedules}: ${mutant.breaks} (${violation})`,
      );
    }
    console.log(`\n${mutants.length - failed} passed, ${failed} failed`);
  } else {
    const { schedules, total, violation } = await runAll(await load("sources"));
    const missing = Object.keys(total).filter((name) => total[name] === 0);
    for (const [name, times] of Object.entries(total)) console.log(`${name.padEnd(22)} ${times}`);
    if (violation !== undefined) console.log(`VIOLATION ${violation}`);
    if (missing.length > 0) console.log(`never came up: ${missing.join(", ")}`);
    failed = violation === undefined ? 0 : 1;
    console.log(`\n${schedules} schedules, ${failed} violations`);
    if (missing.length > 0) failed++;
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = failed === 0 ? 0 : 1;
