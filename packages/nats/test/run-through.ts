// A run of tasks while the worst happens to servers and connections: whatever was acknowledged completes, once, and work goes on by itself.
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, OmniQ, typeOnly, type Logger } from "@omniq/core";
import { nats, type NatsOptions } from "@omniq/nats";
import { expect } from "vitest";

const silent = (): void => {};
/** Outages are the point here; what workers say of them is no news. */
const quiet: Logger = { debug: silent, info: silent, warn: silent, error: silent };

export interface Run {
  /** Where the test itself, who looks at the end, and one worker connect. */
  readonly options: NatsOptions & { readonly servers: readonly string[]; readonly prefix: string };
  /** Where the producer and the other worker connect; default the same. */
  readonly behind?: { readonly producer: readonly string[]; readonly worker: readonly string[] } | undefined;
  readonly count: number;
  /** Does its worst; resolves when it is over. Called again until the log has been purged twice meanwhile. */
  disturb(): Promise<void>;
}

/** Runs tasks while `disturb` does its worst; checks that each completed once, and that the log was purged at least twice meanwhile. */
export async function runThrough({ options, behind, count, disturb }: Run): Promise<void> {
  const work = defineTask({
    name: "work",
    input: typeOnly<{ readonly n: number }>(),
    retry: { maxAttempts: 20, backoff: "fixed", delayMs: 50 },
    run: async ({ n }) => {
      await sleep(5);
      return n * 2;
    },
  });
  // Each has a process's state of its own.
  const make = (servers: readonly string[] = options.servers): OmniQ => {
    const backend = nats({ durabilityWarning: false, ...options, servers });
    return new OmniQ({ taskQueue: backend, eventStorage: backend, logger: quiet });
  };
  const producer = make(behind?.producer);
  const workers = [make(behind?.worker), make()];
  const observer = make();
  const started = workers.map((omniq) => omniq.worker({ tasks: [work], concurrency: 10, leaseMs: 5_000 }));
  await Promise.all(started.map((worker) => worker.start()));
  const watch = await watchLog(options.servers, options.prefix);

  let disturbed = false;
  const disturbing = (async () => {
    // The state grows, and the time between checkpoints with it.
    for (let times = 0; times === 0 || (times < 6 && !watch.purgedTwice()); times++) await disturb();
  })().finally(() => (disturbed = true));
  // What was acknowledged. More than `count` where the disturbance takes longer.
  const ids: string[] = [];
  while (ids.length < count || !disturbed) {
    const n = ids.length;
    const call = work.with({ n }, { id: `t-${n}` });
    try {
      await producer.enqueueMany([call]);
      ids.push(`t-${n}`);
    } catch (error) {
      // Whoever hears that the outcome is unknown asks again with the same id.
      if ((error as { readonly retryable?: boolean }).retryable !== true) throw error;
    }
    if (n >= count) await sleep(10);
  }
  await disturbing;

  const results = observer.components.resultStorage!;
  for (const [n, id] of ids.entries()) {
    let found = await results.wait([{ taskId: id, run: 1 }], 60_000).catch(() => undefined);
    found ??= await results.wait([{ taskId: id, run: 1 }], 60_000);
    expect(
      found.map(({ taskId, status, run, value }) => ({ taskId, status, run, value: JSON.parse(value ?? "") })),
    ).toEqual([{ taskId: id, status: "completed", run: 1, value: n * 2 }]);
  }
  const counts = await observer.queue("default").counts();
  expect(counts).toMatchObject({ ready: 0, active: 0, failed: 0, scheduled: 0, unrecorded: 0 });
  // A settlement appends its event in the same commit, so a task that had been settled twice would have two.
  const settled = new Map<string, number>();
  for (let cursor: string | undefined; ;) {
    const page = await observer.components.eventStorage!.query({ types: ["completed"] }, { limit: 1_000, cursor });
    for (const { taskId } of page.items) settled.set(taskId, (settled.get(taskId) ?? 0) + 1);
    cursor = page.next;
    if (cursor === undefined) break;
  }
  expect(settled.size).toBe(ids.length);
  expect([...settled].filter(([, times]) => times !== 1)).toEqual([]);
  let stored = 0;
  for (let cursor: string | undefined; ;) {
    const page = await results.list({}, { limit: 1_000, cursor });
    stored += page.items.length;
    cursor = page.next;
    if (cursor === undefined) break;
  }
  expect(stored).toBe(ids.length);

  const seen = await watch.stop();
  expect(seen.checkpoints).toBeGreaterThanOrEqual(3);
  expect(seen.purges).toBeGreaterThanOrEqual(2);
  await Promise.all(started.map((worker) => worker.stop()));
  await Promise.all([producer, observer, ...workers].map((omniq) => omniq.close()));
}

/**
 * Counts checkpoints and purges of the log while it runs. A purge leaves the last 10,000 messages, so messages that mean nothing (`x`) are written
 * to the log too, as OmniQ does itself where it fills a gap.
 */
async function watchLog(
  servers: readonly string[],
  prefix: string,
): Promise<{
  purgedTwice(): boolean;
  stop(): Promise<{ readonly checkpoints: number; readonly purges: number }>;
}> {
  const connection = await connect({ servers: [...servers], maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  const manager = await jetstreamManager(connection, { checkAPI: false, timeout: 1_000 });
  const firsts = new Set<number>();
  const heads = new Set<number>();
  let over = false;
  const look = async (): Promise<void> => {
    firsts.add((await manager.streams.info(`${prefix}-log-default`)).state.first_seq);
    const head = await manager.streams.getMessage(`${prefix}-checkpoint-default`, {
      last_by_subj: `${prefix}.checkpoint.default.head`,
    });
    if (head !== null) heads.add(head.json<{ readonly position: number }>().position);
  };
  // So many from the start that each checkpoint but the first purges.
  for (let n = 0; n < 25_000; n++) connection.publish(`${prefix}.log.default`, "x");
  await connection.flush();
  const running = (async () => {
    while (!over) {
      for (let n = 0; n < 1_000; n++) connection.publish(`${prefix}.log.default`, "x");
      // While the server is away nothing is seen.
      await look().catch(() => {});
      await sleep(100);
    }
    await look();
  })();
  return {
    purgedTwice: () => firsts.size > 2 && heads.size > 2,
    stop: async () => {
      over = true;
      await running;
      await connection.close();
      // The first one seen is where the log began.
      return { checkpoints: heads.size, purges: firsts.size - 1 };
    },
  };
}
