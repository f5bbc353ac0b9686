// `worker.run()` in a process of its own: the first signal lets what runs finish, the second does not wait. Loads `dist`.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineTask, OmniQ } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { afterAll, describe, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "omniq-signals-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const program = fileURLToPath(new URL("./worker-modules/run.mjs", import.meta.url));
const slow = defineTask({ name: "slow" });

/** A worker with two tasks to do, one at a time; `onStarted` when the first has begun. Its lines, how it ended, and the tasks' states. */
async function workUntil(name: string, workMs: number, onStarted: (signal: (name: NodeJS.Signals) => void) => void) {
  const databasePath = join(folder, `${name}.db`);
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
  const handles = await omniq.enqueueMany([slow.with(), slow.with()]);
  const child = spawn(process.execPath, [program, databasePath, String(workMs)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let said = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text: string) => {
    if (said === "") onStarted((signal) => void child.kill(signal));
    said += text;
  });
  const ended = await new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal })));
  const states = await Promise.all(handles.map(async (handle) => (await handle.status())?.state));
  await omniq.close();
  return { said: said.trim().split("\n"), ended, states };
}

describe("run", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("%s: what runs finishes, what was not begun stays", async (name) => {
    const { said, ended, states } = await workUntil(name, 400, (signal) => signal(name));
    expect(said).toEqual(["started", "finished", "closed"]);
    expect(ended).toEqual({ code: 0, signal: null });
    expect(states).toEqual(["completed", "ready"]);
  });

  test("a second signal aborts what runs and gives it back", async () => {
    const { said, ended, states } = await workUntil("twice", 600_000, (signal) => {
      signal("SIGTERM");
      setTimeout(() => signal("SIGTERM"), 200);
    });
    expect(said).toEqual(["started", "closed"]);
    expect(ended).toEqual({ code: 0, signal: null });
    expect(states).toEqual(["ready", "ready"]);
  });
});
