// `node dist/redis-backlog.js`: what reserve + settle cost a task on Redis with a backlog of ten thousand and of a million, and its memory.
import { redis } from "@omniq/redis";
import { median, plainTask } from "./measure.ts";
import { serverTime, startServer, usedMemory } from "./redis-server.ts";

const rounds = 100;
const batch = 100;
const server = await startServer();

async function cost(backlog: number): Promise<{ wall: number; server: number; bytes: number }> {
  const backend = redis({ port: server.port, prefix: `backlog${backlog}` });
  const queue = backend.taskQueue();
  const empty = await usedMemory(server.client);
  for (let from = 0; from < backlog; from += 1_000) {
    const tasks = Array.from({ length: 1_000 }, (_, n) =>
      plainTask(`01a20ca5-1be0-7562-84a7-${String(from + n).padStart(12, "0")}`),
    );
    await queue.enqueue([{ tasks }]);
  }
  const bytes = ((await usedMemory(server.client)) - empty) / backlog;
  const before = await serverTime(server.client);
  const walls: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const leases = await queue.reserve({
      queues: ["bench"],
      limit: batch,
      leaseMs: 30_000,
      waitMs: 0,
      worker: "bench",
    });
    await queue.settle(
      leases.map(({ taskId, queue: name, token, run, attempt }) => ({
        taskId,
        queue: name,
        token,
        run,
        attempt,
        outcome: "completed",
        storeResult: true,
        value: "1",
      })),
    );
    walls.push(((performance.now() - started) * 1_000) / leases.length);
  }
  const spent = ((await serverTime(server.client)) - before) / (rounds * batch);
  await backend.close();
  await server.client.flushall();
  return { wall: median(walls), server: spent, bytes };
}

try {
  const ratios: number[] = [];
  for (let repeat = 0; repeat < 3; repeat++) {
    const small = await cost(10_000);
    const large = await cost(1_000_000);
    ratios.push(large.wall / small.wall);
    for (const [name, { wall, server: spent, bytes }] of Object.entries({ "10,000": small, "1,000,000": large }))
      console.log(
        `at ${name}: ${wall.toFixed(1)} µs a task, ${spent.toFixed(1)} of the server's processor, ${bytes.toFixed(0)} bytes a waiting task`,
      );
  }
  console.log(`median ratio ${median(ratios).toFixed(2)} (aim: at most 1.5)`);
} finally {
  server.stop();
}
