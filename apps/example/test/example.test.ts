// The document mill, run as a user runs it.
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import pg from "pg";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";

const program = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const configs = fileURLToPath(new URL("../config/", import.meta.url));
const run = promisify(execFile);
let folder: string;
let configFolder: string;
const postgresUrl = process.env["OMNIQ_TEST_POSTGRES_URL"] ?? "postgresql://postgres@127.0.0.1:5432/postgres";
const schema = `omniq_example_${process.pid}`;
afterAll(async () => {
  const client = new pg.Client({ connectionString: postgresUrl });
  await client.connect();
  await client.query(`SET client_min_messages = warning; DROP SCHEMA IF EXISTS ${schema} CASCADE`);
  await client.end();
});

/** The configuration with the tests' own server and names, in a folder of the test. */
async function configuration(name: string): Promise<string> {
  const text = await readFile(`${configs}${name}.yaml`, "utf8");
  const path = join(configFolder, `${name}.yaml`);
  await writeFile(path, text.replaceAll(/postgresql:\/\/[^"]+/g, postgresUrl).replaceAll("omniq_example", schema));
  return path;
}
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "omniq-example-"));
  // Two levels, since configurations name files beside their folder.
  configFolder = join(await mkdtemp(join(tmpdir(), "omniq-example-config-")), "config");
  await mkdir(configFolder);
  await writeFile(join(folder, "one.md"), "# One\n\nSee https://example.com for more.\n");
  await writeFile(join(folder, "two.txt"), "two words\n");
  await writeFile(join(folder, "empty.txt"), "");
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
  await rm(dirname(configFolder), { recursive: true, force: true });
});

for (const config of [
  "memory",
  "sqlite",
  "sqlite-memory",
  "two-files",
  "postgres",
  "postgres-sqlite",
  "sqlite-postgres",
]) {
  test(`measures a folder on ${config}`, async () => {
    const { stdout } = await run(process.execPath, [
      program,
      "--dir",
      folder,
      "--config",
      await configuration(config),
      "--workers",
      "1",
    ]);
    expect(stdout).toMatch(/one\.md\s+│\s+41 │\s+3 │\s+6 │\s+1 │/);
    expect(stdout).toMatch(/3 files/);
    expect(stdout).toMatch(/lost\s+│\s+0 │/);
    expect(stdout).toMatch(/recorded twice\s+│\s+0 │/);
  });
}

test("a killed worker loses nothing", { timeout: 120_000 }, async () => {
  for (let index = 0; index < 30; index++) await writeFile(join(folder, `file-${index}.md`), `# ${index}\n`);
  const child = spawn(process.execPath, [program, "--dir", folder, "--workers", "2", "--slow", "200"]);
  let said = "";
  let killed = false;
  child.stdout.on("data", (data: Buffer) => {
    said += data.toString();
    const pid = /worker processes \((\d+),/.exec(said)?.[1];
    if (killed || pid === undefined) return;
    killed = true;
    setTimeout(() => process.kill(Number(pid), "SIGKILL"), 1_000);
  });
  const code = await new Promise((resolve) => child.once("exit", resolve));
  expect(said).toMatch(/died \(SIGKILL\)/);
  expect(said).toMatch(/lost\s+│\s+0 │/);
  expect(code).toBe(0);
});

test("a folder without files and a missing configuration are errors", async () => {
  await rm(join(folder, "one.md"));
  await rm(join(folder, "two.txt"));
  await rm(join(folder, "empty.txt"));
  await expect(run(process.execPath, [program, "--dir", folder])).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("no text files") as string,
  });
  await expect(run(process.execPath, [program, "--config", join(folder, "none.yaml")])).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("OMNIQ_CONFIG_INVALID") as string,
  });
});
