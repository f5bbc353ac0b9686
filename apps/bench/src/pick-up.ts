// `node dist/pick-up.js`: how soon an idle worker in another process starts a task, counted from the moment that enqueue resolved.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { median, withFolder } from "./measure.ts";

/** Wall time with the fraction of a millisecond; comparable between processes of one host. */
const now = (): number => performance.timeOrigin + performance.now();
const clock = defineTask({ name: "clock", input: typeOnly<void>(), output: typeOnly<number>(), run: () => now() });

const [role, path] = process.argv.slice(2);
if (role === "worker" && path !== undefined) {
  const omniq = new OmniQ({ taskQueue: sqlite({ databasePath: path }) });
  await omniq.worker({ tasks: [clock] }).start();
  process.send?.("ready");
  process.once("disconnect", () => process.exit(0));
} else {
  await withFolder(async (folder) => {
    const databasePath = `${folder}/pick-up.db`;
    const omniq = new OmniQ({ taskQueue: sqlite({ databasePath }) });
    await omniq.connect();
    const child = fork(fileURLToPath(import.meta.url), ["worker", databasePath]);
    await once(child, "message");
    const waits: number[] = [];
    for (let index = 0; index < 200; index++) {
      await sleep(20);
      const handle = await omniq.enqueue(clock);
      const resolved = now();
      waits.push((await handle.result()) - resolved);
    }
    const sorted = waits.toSorted((a, b) => a - b);
    console.log(
      `pick-up in another process: median ${median(waits).toFixed(2)} ms, 95th percentile ${sorted[189]?.toFixed(2)} ms (aim: median under 5 ms)`,
    );
    child.disconnect();
    await omniq.close();
  });
}
