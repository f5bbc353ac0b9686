// Damage from a seed, in every column of text and number that there is, and in messages: nothing ends, and all that was not damaged is done.
import { setTimeout as sleep } from "node:timers/promises";
import { mutateText, seededRandom } from "@omniq/conformance";
import type { Lease, NewTask } from "@omniq/core";
import pg from "pg";
import { expect, test } from "vitest";
import { Connection } from "../src/connection.ts";
import { checkOptions } from "../src/options.ts";
import { encodeNotice } from "../src/notice.ts";
import { completed, newSchema, open, task } from "./harness.ts";
import { connected, dsn } from "./server.ts";

/** All ten thousand take minutes; the gate takes a part of them, always the same. */
const mutations = Number(process.env["OMNIQ_TEST_MUTATIONS"] ?? 400);
const perRound = 50;

interface Column {
  readonly table: string;
  readonly column: string;
  readonly text: boolean;
}

/** Whose row it is. What has no owner is left alone, but for the tables that queues are told by. */
const owners: Readonly<Record<string, string>> = {
  tasks: "id = ANY ($1)",
  deduplication: "task_id = ANY ($1)",
  dependencies: "child = ANY ($1)",
  settled: "task_id = ANY ($1)",
  past: "task_id = ANY ($1)",
  events: "task_id = ANY ($1)",
  schedules: "id = ANY ($1)",
  leases: "$1::text[] IS NOT NULL",
  group_changes: "$1::text[] IS NOT NULL",
};
const numbers = [
  "-1",
  "0",
  "1",
  "99",
  "2147483647",
  "-2147483648",
  "9223372036854775807",
  "-9223372036854775808",
  "9007199254740993",
];

/** Text that the server takes; it has no NUL, and UTF-8 no lone surrogates. */
const storable = (text: string): string => text.replaceAll("\0", "").toWellFormed().slice(0, 100_000);

async function columnsOf(client: pg.Client, schema: string): Promise<readonly Column[]> {
  const { rows } = await client.query<{ table_name: string; column_name: string; data_type: string }>(
    "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = $1 ORDER BY 1, 2",
    [schema],
  );
  return rows.flatMap(({ table_name: table, column_name: column, data_type: type }) =>
    owners[table] === undefined ||
    !/^(text|bigint|integer|smallint)$/.test(type) ||
    (table === "leases" && type !== "text")
      ? []
      : [{ table, column, text: type === "text" }],
  );
}

test(`${mutations} mutations of what is stored: every verb goes on, and every undamaged task is done`, async () => {
  const schema = newSchema();
  const backend = open({ dsn, schema, maxConnections: 4 });
  const [queue, results] = [backend.taskQueue(), backend.resultStorage()];
  const [events, schedules] = [backend.eventStorage(), backend.scheduleStorage()];
  await backend.check();
  const reports: unknown[] = [];
  backend.onReport((report) => reports.push(report));
  const random = seededRandom(17);
  const request = { queues: ["q"], limit: 20, leaseMs: 60_000, waitMs: 0, worker: "w" };
  const touched = new Set<string>();
  await connected(async (client) => {
    const columns = await columnsOf(client, schema);
    expect(columns.length).toBeGreaterThan(60);
    const damage = async (bad: readonly string[]): Promise<void> => {
      const one = columns[Math.floor(random() * columns.length)] as Column;
      const { table, column } = one;
      const found = await client.query(
        `SELECT ctid::text, "${column}"::text AS value FROM ${schema}.${table} WHERE ${owners[table]} AND "${column}" IS NOT NULL ORDER BY ctid LIMIT 200`,
        [bad],
      );
      const row = found.rows[Math.floor(random() * found.rows.length)] as { ctid: string; value: string } | undefined;
      const value = one.text
        ? storable(mutateText(row?.value ?? "", random).value)
        : numbers[Math.floor(random() * numbers.length)];
      if (row === undefined) return;
      touched.add(`${table}.${column}`);
      // Some would be a second row of a key, or do not fit into the column; then nothing was damaged.
      await client
        .query(`UPDATE ${schema}.${table} SET "${column}" = $2 WHERE ctid = $1::tid`, [row.ctid, value])
        .catch(() => {});
    };
    for (let round = 0; round < Math.ceil(mutations / perRound); round++) {
      const make = (kind: string, number: number, given: (index: number) => Partial<NewTask> = () => ({})): NewTask[] =>
        Array.from({ length: number }, (_value, index) =>
          task(`${round}-${kind}-${index}`, { payload: '{"a":[1,"x"]}', envelope: '{"v":1}', ...given(index) }),
        );
      const group = { group: { key: `g${round}`, limit: 1 } };
      const all = (kind: string): NewTask[] => [
        ...make(`${kind}-plain`, 10),
        ...make(`${kind}-grouped`, 4, () => group),
        ...make(`${kind}-keyed`, 4, (index) => ({ deduplicate: { key: `${round}${kind}${index}`, mode: "keep" } })),
        ...make(`${kind}-urgent`, 3, () => ({ priority: 3 })),
      ];
      const linked = (kind: string): NewTask[] =>
        make(`${kind}-child`, 3, (index) => ({
          dependencies: [{ taskId: `${round}-${kind}-plain-${index}`, onFailure: "run" }],
        }));
      const idsOf = (tasks: readonly NewTask[]): string[] => tasks.map(({ id }) => id);
      // The bad ones first: some of them leased, failed, cancelled and completed, before they are damaged.
      const bad = [...all("bad"), ...linked("bad")];
      await queue.enqueue([{ tasks: bad }]);
      const leases = await queue.reserve({ ...request, limit: 12 });
      await queue.settle(
        leases
          .slice(0, 6)
          .map((lease, index) =>
            index % 2 === 0 ? completed(lease) : { ...completed(lease), outcome: "failed", error: "{}" },
          ),
      );
      await queue.cancel(idsOf(bad).slice(15, 17));
      const ids = idsOf(bad);
      const more = ids.map((taskId, index) => ({
        id: `e-${taskId}`,
        at: Date.now(),
        type: "log" as const,
        taskId,
        taskName: "n",
        queue: "q",
        run: 1,
        attempt: 1,
        data: `{"n":${index}}`,
      }));
      await events.append(more);
      for (const id of ids.slice(0, 3))
        await schedules.put(
          { id, rule: '{"everyMs":1000}', template: "{}", nextAt: 1, runs: 0, paused: false },
          undefined,
        );
      const good = [...all("good"), ...linked("good")];
      await queue.enqueue([{ tasks: good }]);
      for (let number = 0; number < perRound; number++) await damage(ids);
      // Whoever looks is answered.
      const stored = await queue.get([...ids, ...idsOf(good)]);
      expect(
        stored.filter(
          (one) =>
            one !== undefined &&
            !["blocked", "scheduled", "ready", "active", "failed", "cancelled", "expired"].includes(one.state),
        ),
      ).toEqual([]);
      await queue.list({}, { limit: 1_000 });
      await queue.list({ states: ["failed"] }, {});
      await queue.counts();
      for (const one of await results.get(ids))
        expect(one === undefined || ["completed", "failed", "cancelled", "expired"].includes(one.status)).toBe(true);
      await results.list({}, { limit: 1_000 });
      await events.query({}, { limit: 1_000 });
      await schedules.list({ limit: 1_000 });
      for (const { nextAt, runs } of (await schedules.due(100)).schedules)
        expect((nextAt ?? -1) >= 0 && runs >= 0).toBe(true);
      // And all work that was not damaged is done: that of the groups whose others were, too.
      const left = new Set(idsOf(good));
      const until = Date.now() + 30_000;
      while (left.size > 0 && Date.now() < until) {
        const taken: readonly Lease[] = await queue.reserve(request);
        const states = await queue.settle(taken.map((lease) => completed(lease)));
        for (const [index, lease] of taken.entries()) if (states[index] === "settled") left.delete(lease.taskId);
        for (const outcome of await queue.unrecorded(100)) await queue.record([outcome]);
        if (taken.length > 0) continue;
        await queue.sweep(1_000);
        await sleep(5);
      }
      expect([...left]).toEqual([]);
      await queue.retry(ids);
      await queue.remove(ids);
      await schedules.delete(ids);
      for (const name of Object.keys(owners)) await client.query(`DELETE FROM ${schema}.${name}`);
    }
  });
  if (mutations >= 5_000) console.log(`${mutations} mutations of ${touched.size} columns, ${reports.length} reports`);
}, 900_000);

test(`${mutations} mutations of notifications: who listens goes on`, async () => {
  const schema = newSchema();
  const [here, there] = [open({ dsn, schema }), open({ dsn, schema })];
  await here.check();
  const random = seededRandom(18);
  const channel = new Connection(checkOptions({ dsn, schema })).channel;
  const heard: unknown[] = [];
  const stop = there.taskQueue().onCancel((ids) => heard.push(...ids));
  const waiting = there.taskQueue().reserve({ queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 120_000, worker: "w" });
  await sleep(200);
  const change = { tasks: ["q", "p"], results: ["r"], cancels: ["c"], events: true };
  await connected(async (client) => {
    for (let number = 0; number < mutations; number++) {
      const payload = storable(mutateText(encodeNotice("somebody", change), random).value);
      await client.query("SELECT pg_notify($1, $2)", [
        channel,
        Buffer.from(payload).subarray(0, 7_900).toString().replaceAll("\ufffd", ""),
      ]);
    }
  });
  await here.taskQueue().enqueue([{ tasks: [task("a")] }]);
  expect((await waiting).map((lease) => lease.taskId)).toEqual(["a"]);
  expect(heard.every((id) => typeof id === "string")).toBe(true);
  stop();
});
