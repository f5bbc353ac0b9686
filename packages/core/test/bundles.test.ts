// A program in one file, as esbuild makes it: both formats run tasks, in Kubernetes' environment, and threads work where core is left out of it.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";

const run = promisify(execFile);
const core = fileURLToPath(new URL("..", import.meta.url));
const program = `
import { pathToFileURL } from "node:url";
import { OmniQ, defineTask, typeOnly } from "@omniq/core";
import { adapter } from "@omniq/memory";
const greet = defineTask({ name: "greet", input: typeOnly(), run: ({ name }) => "Hello, " + name });
async function main() {
  const omniq = await OmniQ.load({ config: { taskQueue: { type: "memory" } }, adapters: [adapter] });
  const worker = omniq.worker({ tasks: [greet] });
  await worker.start();
  console.log(await (await omniq.enqueue(greet, { name: "Ada" })).result());
  await worker.stop();
  try {
    const modules = [pathToFileURL(process.argv[2])];
    const thread = omniq.worker({ modules, kind: "thread", concurrency: 1, queues: ["threads"] });
    await thread.start();
    console.log(await (await omniq.enqueue(defineTask({ name: "shout", queue: "threads" }))).result());
  } catch (error) {
    console.log(error.code);
  }
  await omniq.close();
}
void main();
`;
const tasks =
  'import { defineTask } from "@omniq/core";\n' +
  'export const shout = defineTask({ name: "shout", queue: "threads", run: () => "HELLO" });\n';
let folder: string;
beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "omniq-bundles-")));
  await mkdir(join(folder, "node_modules", "@omniq"), { recursive: true });
  await symlink(core, join(folder, "node_modules", "@omniq", "core"));
  await writeFile(join(folder, "tasks.mjs"), tasks);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test.each([
  ["cjs", [], "Hello, Ada\nOMNIQ_UNSUPPORTED\n"],
  ["esm", [], "Hello, Ada\nOMNIQ_UNSUPPORTED\n"],
  ["cjs", ["@omniq/core"], "Hello, Ada\nHELLO\n"],
  ["esm", ["@omniq/core"], "Hello, Ada\nHELLO\n"],
] as const)(
  "a bundle of format %s without %j",
  async (format, external, said) => {
    const outfile = join(folder, `app-${external.length}.${format === "cjs" ? "cjs" : "mjs"}`);
    await build({
      stdin: { contents: program, resolveDir: core, loader: "js" },
      ...{
        bundle: true,
        platform: "node",
        format,
        target: "node20",
        outfile,
        external: [...external],
        logLevel: "silent",
      },
    });
    const env = {
      ...process.env,
      NODE_OPTIONS: "",
      OMNIQ_WEB_SERVICE_HOST: "10.0.0.1",
      OMNIQ_WEB_PORT: "tcp://10.0.0.1:80",
      OMNIQ_WEB_PORT_80_TCP_ADDR: "10.0.0.1",
    };
    const { stdout } = await run(process.execPath, [outfile, join(folder, "tasks.mjs")], { cwd: folder, env });
    expect(stdout).toBe(said);
  },
  60_000,
);
