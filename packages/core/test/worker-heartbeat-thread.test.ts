// The heartbeat thread: silent while the main thread lives, extending while it is blocked, and not for longer than a time limit.
import { expect, test } from "vitest";
import type { Lease } from "@omniq/core";
import { encodeEnvelope } from "../src/envelope.ts";
import { Execution } from "../src/worker/execution.ts";
import { HeartbeatThread } from "../src/worker/heartbeat-thread.ts";

const logger = {
  debug() {},
  info() {},
  warn(message: string) {
    throw new Error(message);
  },
  error() {},
};
function execution(taskId: string, timeoutMs: number | null): Execution {
  const retry = { backoff: "fixed", delayMs: 0, factor: 1, maxDelayMs: 0, jitter: 0 } as const;
  const envelope = encodeEnvelope({ retry, timeoutMs, headers: {} });
  const lease = {
    taskId,
    queue: "q",
    token: "t",
    run: 1,
    attempt: 1,
    task: { id: taskId, envelope },
    sentAt: performance.now(),
    cancelling: false,
    dependencies: [],
    deadline: 0,
  };
  return new Execution(lease as unknown as Lease, undefined, 120, performance.now(), Date.now());
}
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

test("extends while the main thread is blocked, and only then", async () => {
  const counts = new SharedArrayBuffer(12);
  const view = new Int32Array(counts);
  const held = new Set<Execution>();
  const thread = new HeartbeatThread(
    { module: new URL("./worker-modules/remote.mjs", import.meta.url).href, options: { counts } },
    2_400,
    logger,
    () => held,
  );
  try {
    while (Atomics.load(view, 1) === 0) await pause(5);
    const [endless, bounded] = [execution("endless", null), execution("bounded", 1)];
    held.add(endless).add(bounded);
    thread.add([endless, bounded]);
    await pause(100);
    expect(Atomics.load(view, 0)).toBe(0);
    Atomics.wait(view, 1, 1, 3_000);
    const extended = Atomics.load(view, 0);
    expect(extended).toBeGreaterThan(1);
    expect(Atomics.load(view, 2)).toBe(0);
    thread.drop(endless);
    thread.drop(bounded);
    await pause(300);
    const after = Atomics.load(view, 0);
    Atomics.wait(view, 1, 1, 1_500);
    expect(Atomics.load(view, 0)).toBe(after);
  } finally {
    await thread.stop();
  }
});
