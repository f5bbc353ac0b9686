// `node dist/nats-start.js [BACKLOG]`: how soon a producer and a worker on NATS are ready with a backlog, and what memory they take.
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { nats } from "@omniq/nats";
import { median } from "./measure.ts";
import { removeStreams, servers } from "./nats-streams.ts";

const work = defineTask({ name: "work", output: typeOnly<void>() });

interface Start {
  readonly readyMs: number;
  readonly megabytes: number;
}

/** Resident memory now, in megabytes, after what can be freed was. */
function memory(): number {
  setFlagsFromString("--expose_gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().rss / 1_048_576;
}

async function measure(role: string, prefix: string): Promise<Start> {
  const before = memory();
  const started = performance.now();
  const omniq = new OmniQ({ taskQueue: nats({ servers, prefix, durabilityWarning: false }) });
  if (role === "producer") await omniq.enqueue(work);
  else {
    let done: () => void = () => {};
    const first = new Promise<void>((resolve) => (done = resolve));
    const worker = omniq.worker({ tasks: [work.implement(() => done())], concurrency: 1 });
    await worker.start();
    await first;
  }
  const readyMs = performance.now() - started;
  const megabytes = memory() - before;
  return { readyMs, megabytes };
}

const [first, prefix] = process.argv.slice(2);
if ((first === "producer" || first === "worker") && prefix !== undefined) {
  console.log(JSON.stringify(await measure(first, prefix)));
  process.exit();
} else {
  const backlog = Number(first ?? 100_000);
  const own = `bench_${randomUUID().slice(0, 8)}`;
  const omniq = new OmniQ({ taskQueue: nats({ servers, prefix: own, durabilityWarning: false }) });
  for (let from = 0; from < backlog; from += 1_000)
    await omniq.enqueueMany(Array.from({ length: 1_000 }, () => work.with()));
  await omniq.close();
  for (const role of ["producer", "worker"]) {
    const starts = Array.from(
      { length: 3 },
      () =>
        JSON.parse(
          execFileSync(process.execPath, [fileURLToPath(import.meta.url), role, own], {
            encoding: "utf8",
          }),
        ) as Start,
    );
    const ready = median(starts.map(({ readyMs }) => readyMs));
    const megabytes = median(starts.map((start) => start.megabytes));
    console.log(
      `${role} at a backlog of ${backlog}: ready after ${ready.toFixed(0)} ms, ${megabytes.toFixed(0)} MB above an idle process`,
    );
  }
  await removeStreams(own);
  process.exit();
}
