// Threads and processes that end, or send anything: the outcome names how, and the worker goes on. Loads `dist`.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const program = fileURLToPath(new URL("./worker-modules/crashes.mjs", import.meta.url));
/** What became of the tasks, one after another, in one worker. */
async function outcomes(kind: string, names: readonly string[], flags: readonly string[] = []) {
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, kind, ...names], {
    timeout: 50_000,
  });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as Readonly<Record<string, unknown>>;
}
const small = ["--max-old-space-size=48"];

test("process", async () => {
  const names = ["environment", "sends", "exits", "killed", "throws-later", "hungry", "sends"];
  const said = await outcomes("process", names, small);
  expect(said).toEqual({
    environment: [process.env["PATH"], "word"],
    sends: "sent",
    exits: "The process ended with exit code 3 while it ran the task",
    killed: "The process was ended by the signal SIGKILL while it ran the task",
    "throws-later": "The process ended with exit code 1 while it ran the task",
    hungry: expect.stringMatching(
      /ended by the signal SIGABRT while it ran the task; one that runs out of memory ends so|exit code 134/,
    ),
  });
});

test("thread", async () => {
  const names = ["environment", "sends", "exits", "throws-later", "hungry", "sends"];
  const said = await outcomes("thread", names, small);
  expect(said).toEqual({
    environment: [process.env["PATH"], "word"],
    sends: "sent",
    exits: "The thread ended with exit code 3 while it ran the task",
    "throws-later": "The thread crashed while it ran the task: nobody caught me",
    hungry: "The thread ran out of memory while it ran the task (ERR_WORKER_OUT_OF_MEMORY)",
  });
});
