// `node dist/torture.js [TASKS] [WORKERS]`: worker processes on one SQLite file, one killed every half second; counts lost and doubled results.
import { fork, type ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { defineTask, isOmniQError, OmniQ, typeOnly } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { withFolder } from "./measure.ts";

const work = defineTask({
  name: "work",
  input: typeOnly<{ readonly n: number }>(),
  retry: { maxAttempts: 20, backoff: "fixed", delayMs: 50 },
  run: async ({ n }) => {
    // Long enough that a run of this size meets many kills.
    await sleep(50);
    return n * 2;
  },
});

async function worker(databasePath: string): Promise<void> {
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
  process.once("disconnect", () => process.exit(0));
  await omniq.worker({ tasks: [work], concurrency: 10, leaseMs: 2_000 }).run();
  await omniq.close();
  process.disconnect();
}

async function main(count: number, processes: number): Promise<boolean> {
  return withFolder(async (folder) => {
    const databasePath = `${folder}/torture.db`;
    const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }), eventStorage: sqlite({ databasePath }) });
    const started = Date.now();
    const handles = [];
    for (let from = 0; from < count; from += 1_000) {
      handles.push(
        ...(await omniq.enqueueMany(
          Array.from({ length: Math.min(1_000, count - from) }, (_, index) => work.with({ n: from + index })),
        )),
      );
    }
    const children = new Set<ChildProcess>();
    let stopping = false;
    let kills = 0;
    const start = (): void => {
      const child = fork(fileURLToPath(import.meta.url), ["worker", databasePath], {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
      children.add(child);
      child.once("exit", () => {
        children.delete(child);
        if (!stopping) start();
      });
    };
    for (let index = 0; index < processes; index++) start();
    const killer = setInterval(() => {
      const all = [...children];
      all[Math.floor(Math.random() * all.length)]?.kill("SIGKILL");
      kills++;
    }, 500);
    let wrong = 0;
    let lost = 0;
    // Leases that a kill ended count too; three of them make a dead letter, which is an outcome with a result of its own.
    let dead = 0;
    await Promise.all(
      handles.map(async (handle, n) => {
        const output = await handle.result({ timeoutMs: 300_000 }).catch((error: unknown) => error);
        if (isOmniQError(output, "OMNIQ_LEASE_LOST")) dead++;
        else if (typeof output !== "number") lost++;
        else if (output !== n * 2) wrong++;
      }),
    );
    clearInterval(killer);
    stopping = true;
    for (const child of children) child.kill("SIGTERM");
    const live = await omniq.queue("default").counts();
    let results = 0;
    const seen = new Set<string>();
    let cursor: string | undefined;
    do {
      const page = await omniq.components.resultStorage!.list(
        {},
        { limit: 1_000, ...(cursor === undefined ? {} : { cursor }) },
      );
      for (const result of page.items) {
        results++;
        seen.add(`${result.taskId}/${result.run}`);
      }
      cursor = page.next;
    } while (cursor !== undefined);
    console.log(
      `${count} tasks, ${processes} processes, ${kills} kills, ${((Date.now() - started) / 1_000).toFixed(1)} s: ` +
        `${results} results of ${seen.size} runs, ${lost} lost, ${wrong} wrong, ${dead} dead letters of three expired leases; ` +
        `still in the queue ${live.blocked + live.scheduled + live.ready + live.active}, dead letters there ${live.failed}`,
    );
    await omniq.close();
    return lost === 0 && wrong === 0 && results === count && seen.size === count;
  });
}

const [first, second] = process.argv.slice(2);
if (first === "worker" && second !== undefined) await worker(second);
else process.exitCode = (await main(Number(first ?? 20_000), Number(second ?? 8))) ? 0 : 1;
