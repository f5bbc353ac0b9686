// Each component of NATS alone beside the components of other backends: tasks run, results and events are where they belong.
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineTask, OmniQ, typeOnly, type Backend } from "@omniq/core";
import { memory } from "@omniq/memory";
import { nats } from "@omniq/nats";
import { sqlite } from "@omniq/sqlite";
import { cleanUpAfter } from "../../../scripts/clean-up.mjs";
import { startServers } from "../../../scripts/servers.mjs";
import { afterAll, afterEach, expect, test } from "vitest";

const { servers, stop } = await startServers(["nats"]);
const folder = mkdtempSync(join(tmpdir(), "omniq-nats-apart-"));
const closers: (() => Promise<unknown>)[] = [];
const prefixes: string[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});
afterAll(async () => {
  for (const prefix of prefixes) await cleanUpAfter(prefix, ["nats"]);
  rmSync(folder, { recursive: true });
  await stop();
});

function ofNats(): Backend {
  const prefix = `omniq_b_${randomUUID().slice(0, 8)}`;
  prefixes.push(prefix);
  return nats({ servers: servers[0]?.url, prefix, durabilityWarning: false });
}
const ofSqlite = (): Backend => sqlite({ databasePath: join(folder, `${randomUUID()}.db`) });

const work = defineTask({
  name: "work",
  input: typeOnly<number>(),
  retry: { maxAttempts: 2, backoff: "fixed", delayMs: 10 },
  run: (n, { attempt }) => {
    if (n === 3 && attempt === 1) throw new Error("once");
    if (n === 4) throw new Error("always");
    return n * 2;
  },
});

/** Runs four tasks: two complete, one at its second attempt, one never. */
async function run(omniq: OmniQ): Promise<readonly string[]> {
  closers.push(() => omniq.close());
  const handles = await omniq.enqueueMany([1, 2, 3, 4].map((n) => work.with(n)));
  const worker = omniq.worker({ tasks: [work], concurrency: 2 });
  await worker.start();
  const outcomes = await Promise.all(handles.map((handle) => handle.outcome()));
  await worker.stop();
  expect(outcomes.map(({ status }) => status)).toEqual(["completed", "completed", "completed", "failed"]);
  expect(await Promise.all(handles.slice(0, 3).map((handle) => handle.result()))).toEqual([2, 4, 6]);
  return handles.map((handle) => (handle as { readonly id: string }).id);
}

test("results of NATS beside a SQLite queue", async () => {
  const results = ofNats();
  const ids = await run(new OmniQ({ taskQueue: ofSqlite(), resultStorage: results }));
  // Asked of NATS itself, the results are there, one a task.
  const other = nats({ servers: servers[0]?.url, prefix: prefixes.at(-1), durabilityWarning: false });
  closers.push(() => other.close());
  const stored = await other.resultStorage().list({}, { limit: 10 });
  expect(stored.items.map(({ taskId, status }) => [taskId, status]).toSorted()).toEqual(
    ids.map((id, index) => [id, index === 3 ? "failed" : "completed"]).toSorted(),
  );
  expect(await other.taskQueue().counts()).toEqual({});
});

test("events of NATS beside a memory queue", async () => {
  const ids = await run(new OmniQ({ taskQueue: memory(), eventStorage: ofNats() }));
  const other = nats({ servers: servers[0]?.url, prefix: prefixes.at(-1), durabilityWarning: false });
  closers.push(() => other.close());
  const types = async (taskId: string | undefined) =>
    (await other.eventStorage().query({ taskId }, { limit: 20 })).items.map(({ type }) => type);
  expect(await types(ids[0])).toEqual(["enqueued", "started", "completed"]);
  expect(await types(ids[2])).toEqual(["enqueued", "started", "retrying", "started", "completed"]);
});

test("tasks of NATS beside SQLite results and events", async () => {
  const sqlite = ofSqlite();
  const tasks = ofNats();
  const ids = await run(new OmniQ({ taskQueue: tasks, resultStorage: sqlite, eventStorage: sqlite }));
  const other = nats({ servers: servers[0]?.url, prefix: prefixes.at(-1), durabilityWarning: false });
  closers.push(() => other.close());
  // The dead letter stays; no result is in the log.
  expect((await other.taskQueue().counts())["default"]).toMatchObject({
    ready: 0,
    active: 0,
    failed: 1,
    unrecorded: 0,
  });
  expect(await other.resultStorage().get(ids)).toEqual([undefined, undefined, undefined, undefined]);
});
