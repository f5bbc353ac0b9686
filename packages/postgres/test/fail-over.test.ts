// Several servers in a DSN: a primary and a standby of the test's own, the primary crashes, the standby is promoted. And certificates.
import { setTimeout as sleep } from "node:timers/promises";
import { isOmniQError } from "@omniq/core";
import { adapter, postgres } from "@omniq/postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkOptions } from "../src/options.ts";
import { completed, open, task } from "./harness.ts";
import { Pair } from "./pair.ts";

let pair: Pair;
beforeAll(async () => {
  pair = await Pair.start();
});
afterAll(() => pair.stop());

const request = { queues: ["q"], limit: 20, leaseMs: 5_000, waitMs: 500, worker: "w" };

test("a DSN may name several servers, as libpq writes it; what a backend can't use is refused by name", () => {
  const login = "postgresql://u:p%40@";
  const hosts = (dsn: string): unknown => checkOptions({ dsn }).hosts;
  expect(hosts(`${login}a:1,b,[::1]:3/d?sslmode=require`)).toEqual({
    configs: ["a:1", "b", "[::1]:3"].map((host) => ({ connectionString: `${login}${host}/d?sslmode=require` })),
    session: "read-write",
  });
  expect(hosts(`${login}a/d?target_session_attrs=primary`)).toEqual({
    configs: [{ connectionString: `${login}a/d` }],
    session: "primary",
  });
  expect(adapter.fromUrl?.(`${login}a:1,b:2/d?schema=s&target_session_attrs=any`)).toEqual({
    dsn: `${login}a:1,b:2/d?target_session_attrs=any`,
    schema: "s",
  });
  for (const [dsn, message] of [
    [`${login}a,b/d?target_session_attrs=standby`, /target_session_attrs/],
    [`${login}a,,b/d`, /host/],
    [`${login}a:x,b/d`, /port/],
  ] as const)
    expect(() => postgres({ dsn })).toThrow(message);
});

test("a certificate that is not trusted is no reason to try again", async () => {
  for (const options of [
    { dsn: `${pair.primary}?sslmode=verify-full` },
    { dsn: pair.primary, tls: true },
    { dsn: pair.standby.replace(/\?.*/, ""), tls: { rejectUnauthorized: true } },
  ]) {
    const error: unknown = await open(options)
      .check()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "OMNIQ_BACKEND_FAILED", retryable: false, message: /certificate/ });
  }
});

test("when the primary crashes work goes on with the standby that took its place: nothing accepted is lost, nothing done twice", async () => {
  const backend = open({ dsn: pair.dsn, schema: "fail_over", maxConnections: 4 });
  const queue = backend.taskQueue();
  const accepted: string[] = [];
  const done: string[] = [];
  const settledAt: number[] = [];
  let over = false;
  /** As core does: what is retryable is sent again, under the same ids. */
  const again = async <T>(call: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (!isOmniQError(error) || !error.retryable) throw error;
        await sleep(50);
      }
    }
  };
  const produce = async (): Promise<void> => {
    for (let number = 0; !over; number++) {
      const id = `t${number}`;
      await again(() => queue.enqueue([{ tasks: [task(id)] }]));
      accepted.push(id);
      await sleep(5);
    }
  };
  const consume = async (): Promise<void> => {
    let empty = 0;
    while (!over || empty < 3 || done.length < accepted.length) {
      const leases = await again(() => queue.reserve(request));
      empty = leases.length === 0 ? empty + 1 : 0;
      if (leases.length === 0) continue;
      const states = await again(() => queue.settle(leases.map((lease) => completed(lease))));
      for (const [index, lease] of leases.entries()) if (states[index] === "settled") done.push(lease.taskId);
      settledAt.push(performance.now());
    }
  };
  const working = Promise.all([produce(), consume(), consume()]);
  const reaches = async (number: number): Promise<void> => {
    for (let tries = 0; done.length < number && tries < 1_000; tries++) await sleep(20);
  };
  await reaches(30);
  const before = done.length;
  await pair.failOver(500);
  await reaches(before + 60);
  over = true;
  await Promise.race([working, sleep(40_000)]);
  const pauses = settledAt.slice(1).map((at, index) => at - (settledAt[index] as number));
  const lost = accepted.filter((id) => !done.includes(id));
  const doubled = done.length - new Set(done).size;
  console.log(
    `accepted ${accepted.length}, lost ${lost.length}, doubled ${doubled}, longest pause ${Math.round(Math.max(...pauses))} ms`,
  );
  expect(before).toBeGreaterThanOrEqual(30);
  expect(done.length).toBeGreaterThanOrEqual(before + 60);
  expect(lost).toEqual([]);
  expect(doubled).toBe(0);
});
