// Measures requests per task, tasks per second and bytes per task on the stand-in for S3, at round trips of 0, 10, 50 and 100 ms and for
// batches of 1, 10, 100 and 1,000, and what a month of a million tasks a day costs at list prices.
// Build first, then: node packages/file-s3/bench/requests.mjs [seconds per measurement]
import { fork } from "node:child_process";
import { file } from "@omniq/file";
import { s3 } from "@omniq/file-s3";
import { startS3Server } from "omniq-test-stores";

// The server runs in a process of its own, so that its work is not counted as the queue's.
if (process.env.OMNIQ_BENCH_SERVER !== undefined) {
  const server = await startS3Server({ buckets: ["bench"] });
  process.on("message", ({ roundTripMs }) => {
    if (roundTripMs !== undefined) server.roundTripMs = roundTripMs;
    process.send({ counts: { ...server.counts }, bytesIn: server.bytesIn });
  });
  process.on("disconnect", () => process.exit(0));
  process.send({ url: server.url });
} else await main();

async function main() {
  const seconds = Number(process.argv[2] ?? 4);
  const child = fork(import.meta.filename, [], { env: { ...process.env, OMNIQ_BENCH_SERVER: "1" } });
  const heard = () => new Promise((resolve) => child.once("message", resolve));
  const { url } = await heard();
  const ask = async (message = {}) => {
    const answer = heard();
    child.send(message);
    return answer;
  };
  // List prices of S3 Standard in us-east-1, dollars a request. Azure (hot, LRS) and Google (Standard) ask the same to a tenth.
  const price = { write: 0.005 / 1_000, read: 0.0004 / 1_000 };
  console.log(
    "| round trip | batch | enqueue, tasks/s | drain, tasks/s | requests per task | bytes written per task | 1 million a day, dollars a month |",
  );
  console.log("|---|---|---|---|---|---|---|");
  let serial = 0;
  for (const roundTripMs of [0, 10, 50, 100]) {
    for (const batch of [1, 10, 100, 1_000]) {
      await ask({ roundTripMs });
      const store = s3({ bucket: "bench", prefix: `run-${serial++}`, endpoint: url, key: "test", secret: "test" });
      const backend = file({ store });
      const queue = backend.taskQueue();
      await queue.counts();
      const before = await ask();
      const { enqueued, rate: enqueueRate } = await fill(queue, batch, seconds);
      const drainRate = await drain(queue, batch, enqueued);
      const after = await ask();
      const writes = ["create", "replace", "write", "list"].reduce(
        (sum, kind) => sum + after.counts[kind] - before.counts[kind],
        0,
      );
      const reads = after.counts.read - before.counts.read;
      const bytes = (after.bytesIn - before.bytesIn) / enqueued;
      const dollars = (30_000_000 * (writes * price.write + reads * price.read)) / enqueued;
      const cells = [
        `${roundTripMs} ms`,
        batch,
        Math.round(enqueueRate),
        Math.round(drainRate),
        ((writes + reads) / enqueued).toPrecision(2),
        Math.round(bytes),
        dollars.toPrecision(2),
      ];
      console.log(`| ${cells.join(" | ")} |`);
      await backend.close();
    }
  }
  child.disconnect();
}

function task(id) {
  const payload = '{"to":"someone@example.com","subject":"Your order"}';
  return {
    id,
    name: "mail",
    queue: "q",
    payload,
    envelope: "{}",
    priority: 0,
    maxAttempts: 5,
    resultTtlMs: 86_400_000,
    rememberMs: 600_000,
  };
}

/** Calls of `batch` tasks, one after the other. */
async function fill(queue, batch, seconds) {
  const started = performance.now();
  let enqueued = 0;
  do {
    const tasks = Array.from({ length: batch }, (_, i) => task(`t${String(enqueued + i).padStart(9, "0")}`));
    await queue.enqueue([{ tasks }]);
    enqueued += batch;
  } while (performance.now() - started < seconds * 1_000 && enqueued < 100_000);
  return { enqueued, rate: (enqueued * 1_000) / (performance.now() - started) };
}

/** Settles what it has and takes `batch` more, in one commit, results included. */
async function drain(queue, batch, count) {
  const request = { queues: ["q"], limit: batch, leaseMs: 60_000, waitMs: 0, worker: "bench" };
  const started = performance.now();
  let settlements = [];
  let done = 0;
  while (done < count) {
    const { leases } = await queue.settleAndReserve(settlements, request);
    done += settlements.length;
    settlements = leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: true, value: '{"ok":true}' }));
    if (leases.length === 0 && done < count) throw new Error(`${count - done} tasks are gone`);
  }
  return (done * 1_000) / (performance.now() - started);
}
