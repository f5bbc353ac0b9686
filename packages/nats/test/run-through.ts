// A run of tasks while the worst happens to servers and connections: whatever was acknowledged completes, once, and work goes on by itself.
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, OmniQ, typeOnly, type Logger } from "@omniq/core";
import { nats, type NatsOptions } from "@omniq/nats";
import { expect } from "vitest";

/** Goes into the log and not into the state that stays, which is what the log must outgrow for the next checkpoint. */
const filler = "x".repeat(10_000);
const silent = (): void => {};
/** Outages are the point here; what workers say of them is no news. */
const quiet: Logger = { debug: silent, info: silent, warn: silent, error: silent };

export interface Run {
  /** Where the test itself, who looks at the end, and one worker connect. */
  readonly options: NatsOptions & { readonly servers: readonly string[]; readonly prefix: string };
  /** Where the producer and the other worker connect; default the same. */
  readonly behind?: { readonly producer: readonly string[]; readonly worker: readonly string[] } | undefined;
  readonly count: number;
  /** Default 5,000. */
  readonly leaseMs?: number | undefined;
  /** Does its worst; resolves when it is over. Called again until the log has been purged twice meanwhile. */
  disturb(): Promise<void>;
}

/** Runs tasks while `disturb` does its worst; checks that each completed once, and that the log was purged at least twice meanwhile. */
export async function runThrough({ options, behind, count, leaseMs = 5_000, disturb }: Run): Promise<void> {
  const work = defineTask({
    name: "work",
    input: typeOnly<{ readonly n: number; readonly filler: string }>(),
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
  const started = workers.map((omniq) => omniq.worker({ tasks: [work], concurrency: 10, leaseMs }));
  await Promise.all(started.map((worker) => worker.start()));
  const watch = await watchLog(options.servers, options.prefix);

  let disturbed = false;
  const disturbing = (async () => {
    // A purge that an outage prevents is made up for by the next.
    for (let times = 0; times === 0 || (times < 6 && !watch.purgedTwice()); times++) await disturb();
  })().finally(() => (disturbed = true));
  // It is waited for below.
  disturbing.catch(() => undefined);
  // What was acknowledged. More than `count` where the disturbance takes longer.
  const ids: string[] = [];
  while (ids.length < count || !disturbed) {
    const n = ids.length;
    const call = work.with({ n, filler }, { id: `t-${n}` });
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
    const found = await patiently(() => results.wait([{ taskId: id, run: 1 }], 60_000));
    const got = found.map(({ taskId, status, run, value, error }) => ({ taskId, status, run, value, error }));
    expect(got).toEqual([{ taskId: id, status: "completed", run: 1, value: `${n * 2}`, error: undefined }]);
  }
  const counts = await patiently(() => observer.queue("default").counts());
  expect(counts).toMatchObject({ ready: 0, active: 0, failed: 0, scheduled: 0, unrecorded: 0 });
  // A settlement appends its event in the same commit, so a task that had been settled twice would have two.
  const settled = new Map<string, number>();
  for (let cursor: string | undefined; ;) {
    const page = await patiently(() =>
      observer.components.eventStorage!.query({ types: ["completed"] }, { limit: 1_000, cursor }),
    );
    for (const { taskId } of page.items) settled.set(taskId, (settled.get(taskId) ?? 0) + 1);
    cursor = page.next;
    if (cursor === undefined) break;
  }
  expect(settled.size).toBe(ids.length);
  expect([...settled].filter(([, times]) => times !== 1)).toEqual([]);
  let stored = 0;
  for (let cursor: string | undefined; ;) {
    const page = await patiently(() => results.list({}, { limit: 1_000, cursor }));
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

/** Calls again while the server or the leader of a stream is away. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  for (const until = performance.now() + 30_000; ; await sleep(100))
    try {
      return await call();
    } catch (error) {
      if ((error as { readonly retryable?: boolean }).retryable !== true || performance.now() > until) throw error;
    }
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
  };
  connection.subscribe(`${prefix}.checkpoint.default.head`, {
    callback: (_, head) => void heads.add(head.json<{ readonly position: number }>().position),
  });
  const fill = async (count: number): Promise<void> => {
    // Each is waited for: a cluster drops what comes faster than it agrees on it.
    const sent = Array.from({ length: count }, () =>
      connection.request(`${prefix}.log.default`, "x", { timeout: 5_000 }),
    );
    await Promise.allSettled(sent);
  };
  // So many from the start that each checkpoint but the first purges.
  const last = (): Promise<number> =>
    manager.streams.info(`${prefix}-log-default`).then(
      ({ state }) => state.last_seq,
      () => 0,
    );
  // A stream that has no leader yet takes nothing.
  while ((await last()) < 25_000) {
    await fill(1_000);
    await sleep(10);
  }
  const running = (async () => {
    while (!over) {
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
