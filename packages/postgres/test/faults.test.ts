// The server stalls, is away, cancels calls or undoes them; the network swallows what is sent; a lock table has an end.
import { setTimeout as sleep } from "node:timers/promises";
import type { Lease } from "@omniq/core";
import { migrate } from "@omniq/postgres";
import { expect, test } from "vitest";
import { cutBatches } from "../src/enqueue.ts";
import { Claims } from "../src/reserve.ts";
import { cutSettlements } from "../src/settle.ts";
import { completed, newSchema, open, task } from "./harness.ts";
import { Proxy } from "./proxy.ts";
import { connected, dsn } from "./server.ts";

const request = { queues: ["q"], limit: 10, leaseMs: 30_000, waitMs: 0, worker: "w" };
/** A rejection's code, or what it resolved with. */
const outcomeOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    (value) => value,
    (error: { code?: string }) => error.code,
  );

for (const [how, take] of [
  ["does not answer", (proxy: Proxy) => proxy.stall()],
  ["is away", (proxy: Proxy) => void proxy.stop()],
] as const) {
  test(`close ends in time where the server ${how}, and so do the calls that wait for it`, async () => {
    const schema = newSchema();
    await migrate({ dsn, schema });
    const proxy = new Proxy(dsn);
    await proxy.start();
    const backend = open({ dsn: proxy.through(dsn), schema });
    const [queue, results] = [backend.taskQueue(), backend.resultStorage()];
    queue.onCancel(() => {});
    const waiting = outcomeOf(queue.reserve({ ...request, waitMs: 60_000 }));
    await sleep(300);
    take(proxy);
    const calls = [
      waiting,
      outcomeOf(queue.enqueue([{ tasks: [task("a")] }])),
      outcomeOf(results.wait([{ taskId: "a", run: 1 }], 60_000)),
    ];
    calls.push(outcomeOf(queue.counts()), outcomeOf(queue.reserve({ ...request, waitMs: 60_000 })));
    await sleep(100);
    const start = performance.now();
    await backend.close();
    await Promise.all(calls);
    // Two seconds are promised; a busy machine is given as many more.
    expect(performance.now() - start).toBeLessThan(4_000);
    await proxy.stop();
  });
}

test("an aborted reserve gives up at once, and what its claim took all the same is given back", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema, maxConnections: 3 }).taskQueue();
  await queue.enqueue([{ tasks: [task("a"), task("b", { priority: 5 })] }]);
  const stop = new AbortController();
  const outcome = await connected(async (client) => {
    await client.query(`BEGIN; LOCK TABLE ${schema}.tasks IN ACCESS EXCLUSIVE MODE`);
    const reserving = outcomeOf(queue.reserve(request, { signal: stop.signal }));
    await sleep(200);
    stop.abort(Object.assign(new Error("stopped"), { code: "stopped" }));
    const given = await Promise.race([reserving, sleep(5_000, "late")]);
    await client.query("COMMIT");
    return given;
  });
  expect(outcome).toBe("stopped");
  let states: unknown[] = [];
  for (let tries = 0; tries < 250 && states.join() !== "ready,0,ready,0"; tries++) {
    await sleep(20);
    states = (await queue.get(["a", "b"])).flatMap((one) => [one?.state, one?.attempt]);
    // A claim that is on its way has given nothing back yet, but its leases show.
    if (tries < 3) states = [];
  }
  expect(states).toEqual(["ready", 0, "ready", 0]);
});

test("calls on connections that the network forgot are found out in seconds, and what waits goes on", async () => {
  const schema = newSchema();
  await migrate({ dsn, schema });
  const proxy = new Proxy(dsn);
  await proxy.start();
  const queue = open({ dsn: proxy.through(dsn), schema, maxConnections: 4 }).taskQueue();
  const direct = open({ dsn, schema }).taskQueue();
  await Promise.all(Array.from({ length: 4 }, () => queue.counts()));
  const waiting = queue.reserve({ ...request, waitMs: 60_000 });
  await sleep(300);
  proxy.stall();
  const start = performance.now();
  const calls = [
    outcomeOf(queue.counts()),
    outcomeOf(queue.enqueue([{ tasks: [task("a")] }])),
    outcomeOf(queue.pause("other")),
  ];
  await sleep(200);
  proxy.flow();
  await direct.enqueue([{ tasks: [task("b")] }]);
  expect(await Promise.all(calls)).toEqual([
    "OMNIQ_BACKEND_UNAVAILABLE",
    "OMNIQ_OUTCOME_UNKNOWN",
    "OMNIQ_OUTCOME_UNKNOWN",
  ]);
  expect((await waiting).map((lease) => lease.taskId)).toEqual(["b"]);
  // A minute was waited before. It is asked after five seconds, and again after five.
  expect(performance.now() - start).toBeLessThan(25_000);
  await proxy.stop();
});

test("a statement that takes long is waited for, as long as the server works on it", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema }).taskQueue();
  await queue.counts();
  await connected(async (client) => {
    await client.query(`BEGIN; LOCK TABLE ${schema}.tasks IN ACCESS EXCLUSIVE MODE`);
    const enqueued = queue.enqueue([{ tasks: [task("a")] }]);
    await sleep(7_000);
    await client.query("COMMIT");
    expect(await enqueued).toMatchObject([{ receipts: [{ state: "enqueued" }] }]);
  });
});

test("an enqueue whose notification fails after its commit is an enqueue that has succeeded", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema }).taskQueue();
  await queue.counts();
  await connected((client) =>
    client.query(`CREATE TABLE ${schema}.fails (n integer UNIQUE DEFERRABLE INITIALLY DEFERRED);
      CREATE OR REPLACE PROCEDURE ${schema}.commit_and_tell(p_answer text[], p_channel text, p_text text, INOUT answer text) LANGUAGE plpgsql AS $$
      BEGIN
        answer := pg_catalog.to_json(p_answer)::text;
        COMMIT;
        -- Found out when the second transaction commits, as a notification that does not fit is.
        INSERT INTO ${schema}.fails VALUES (1), (1);
      END $$`),
  );
  for (const tasks of [[task("one")], Array.from({ length: 20 }, (_value, index) => task(`many${index}`))]) {
    await sleep(30); // Else the notification would go with a later one.
    const [answer] = await queue.enqueue([{ tasks }]);
    expect(answer).toEqual({ state: "accepted", receipts: tasks.map(({ id }) => ({ id, state: "enqueued" })) });
    const leases = await queue.reserve({ ...request, limit: 50 });
    expect(leases).toHaveLength(tasks.length);
    expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(leases.map(() => "settled"));
  }
});

test("a call that the server cancels by its statement_timeout is retryable, and what it was to settle is settled by trying again", async () => {
  const schema = newSchema();
  const url = new URL(dsn);
  url.searchParams.set("options", "-c statement_timeout=300");
  await migrate({ dsn, schema });
  const queue = open({ dsn: url.href, schema }).taskQueue();
  await queue.enqueue([{ tasks: [task("a")] }]);
  const leases = await queue.reserve(request);
  await connected(async (client) => {
    await client.query(`BEGIN; SELECT 1 FROM ${schema}.tasks FOR UPDATE`);
    await expect(queue.settle(leases.map((lease) => completed(lease)))).rejects.toMatchObject({
      code: "OMNIQ_BACKEND_UNAVAILABLE",
      retryable: true,
    });
    await client.query("COMMIT");
  });
  expect(await queue.settle(leases.map((lease) => completed(lease)))).toEqual(["settled"]);
});

test("a claim of thousands of queues, with groups in hundreds, takes few of the server's locks", async () => {
  const schema = newSchema();
  const queue = open({ dsn, schema }).taskQueue();
  await queue.enqueue([
    {
      tasks: Array.from({ length: 300 }, (_value, index) =>
        task(`t${index}`, { queue: `q${index}`, group: { key: "g", limit: 1 } }),
      ),
    },
  ]);
  await connected(async (client) => {
    await client.query("BEGIN");
    await client.query(
      `SELECT count(*) FROM ${schema}.reserve((SELECT array_agg('q' || n) FROM generate_series(0, 2999) n), 10, 1000, 'w', 'abcdefghijkl', true,
         array_fill(0, ARRAY[3000]), array_fill(0, ARRAY[3000]), NULL, 1000000)`,
    );
    const { rows } = await client.query(
      "SELECT count(*)::int AS n FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
    );
    await client.query("ROLLBACK");
    expect(rows[0]?.n).toBeGreaterThan(0);
    expect(rows[0]?.n).toBeLessThan(100);
  });
});

test("cancel, remove, retry, enqueue, reserve and settle of the same ids side by side: no call fails", async () => {
  const schema = newSchema();
  await migrate({ dsn, schema });
  const queues = Array.from({ length: 3 }, () => open({ dsn, schema, maxConnections: 6 }).taskQueue());
  const ids = Array.from({ length: 12 }, (_value, index) => `t${index}`);
  let seed = 1;
  const random = (below: number): number => (seed = (seed * 48_271) % 2_147_483_647) % below;
  const shuffled = (): string[] => ids.toSorted(() => random(3) - 1);
  const tasks = () =>
    shuffled().map((id, index, all) =>
      task(id, {
        ...(index % 3 === 1 ? { deduplicate: { key: `k${random(3)}`, mode: "replace" as const } } : {}),
        ...(index % 4 === 3 ? { dependencies: [{ taskId: all[index - 1] as string, onFailure: "run" as const }] } : {}),
      }),
    );
  const failed: unknown[] = [];
  const until = Date.now() + 4_000;
  let calls = 0;
  const loop = async (call: () => Promise<unknown>): Promise<void> => {
    while (Date.now() < until) {
      calls++;
      await call().catch((error: unknown) => failed.push(error));
    }
  };
  await Promise.all(
    queues.flatMap((queue) => [
      loop(() => queue.enqueue([{ tasks: tasks() }])),
      loop(() => queue.cancel(shuffled())),
      loop(() => queue.remove(shuffled())),
      loop(() => queue.retry(shuffled())),
      loop(async () => queue.record((await queue.unrecorded(20)).map(({ taskId, run }) => ({ taskId, run })))),
      loop(async () => {
        const leases: readonly Lease[] = await queue.reserve({ ...request, limit: 4 });
        await queue.settle(
          leases.map((lease, index) =>
            index % 2 === 0 ? completed(lease) : { ...completed(lease), outcome: "failed" as const, error: "e" },
          ),
        );
      }),
    ]),
  );
  expect(calls).toBeGreaterThan(50);
  expect(failed).toEqual([]);
});

test("large payloads and outputs go in statements and answers of bounded size, each call in one; a call that does not fit is refused", async () => {
  const large = "x".repeat(9_000_000);
  const calls = Array.from({ length: 60 }, (_value, index) => ({ tasks: [task(`t${index}`, { payload: large })] }));
  for (const inTransaction of [false, true]) {
    const batches = cutBatches(calls, inTransaction);
    expect(batches.map((batch) => batch.calls.length)).toEqual(Array.from({ length: 20 }, () => 3));
    expect(batches.flatMap((batch) => batch.indexes)).toEqual(calls.map((_call, index) => index));
  }
  const ended = {
    taskId: "t",
    queue: "q",
    token: "t",
    run: 1,
    attempt: 1,
    outcome: "completed" as const,
    storeResult: true,
    value: large,
  };
  expect(cutSettlements(Array.from({ length: 100 }, () => ended)).map((part) => part.length)).toEqual([
    ...Array.from({ length: 33 }, () => 3),
    1,
  ]);
  // Nobody asks for a bound, and there is one.
  const { values } = new Claims().begin(request).columns.build();
  expect(values.at(-1)).toBeLessThan(2 ** 28);
  const queue = open({ dsn, schema: newSchema() }).taskQueue();
  await expect(queue.enqueue([{ tasks: calls.flatMap((call) => call.tasks) }])).rejects.toMatchObject({
    code: "OMNIQ_INVALID_INPUT",
    message: /several calls/,
  });
  const some = Array.from({ length: 4 }, (_value, index) => ({
    tasks: [task(`u${index}`, { payload: large.slice(0, 17_000_000 / 4) })],
  }));
  const answers = await queue.enqueue(
    [...some, ...some].map((call, index) => (index < 4 ? call : { tasks: [task(`v${index}`)] })),
  );
  expect(answers.every((answer) => answer.state === "accepted")).toBe(true);
  const leases = await queue.reserve(request);
  expect(await queue.settle(leases.map((lease) => completed(lease, "v")))).toEqual(leases.map(() => "settled"));
  expect(leases).toHaveLength(8);
});
