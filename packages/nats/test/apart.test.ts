// Results, events and schedules beside a task queue of another backend: each has its own log, and reads no other.
import { randomUUID } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { nats } from "@omniq/nats";
import { afterEach, expect, test } from "vitest";
import { removeStreams, servers } from "./harness.ts";

const prefixes: string[] = [];
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const prefix of prefixes.splice(0)) await removeStreams(prefix);
});

test("tasks, results and events in three backends: all arrive, and a reader of results follows their log alone", async () => {
  const [tasks, results, events] = Array.from({ length: 3 }, () => `omniq_a_${randomUUID().slice(0, 8)}`) as [
    string,
    string,
    string,
  ];
  prefixes.push(tasks, results, events);
  const omniq = new OmniQ({
    taskQueue: nats({ servers, prefix: tasks }),
    resultStorage: nats({ servers, prefix: results }),
    eventStorage: nats({ servers, prefix: events }),
  });
  closers.push(() => omniq.close());
  const double = defineTask({
    name: "double",
    input: typeOnly<number>(),
    run: (n) => {
      if (n === 3) throw new Error("three");
      return n * 2;
    },
    retry: { maxAttempts: 1 },
  });
  const handles = await omniq.enqueueMany([1, 2, 3].map((n) => double.with(n)));
  await omniq.worker({ tasks: [double], concurrency: 3 }).drain();
  const outcomes = await Promise.all(handles.map((handle) => handle.outcome()));
  expect(outcomes.map(({ status }) => status)).toEqual(["completed", "completed", "failed"]);

  const connection = await connect({ servers });
  closers.push(() => connection.close());
  const manager = await jetstreamManager(connection, { checkAPI: false });
  const consumers = async (prefix: string): Promise<number> =>
    (await manager.streams.info(`${prefix}-log-default`)).state.consumer_count;
  const before = await consumers(tasks);
  const reader = nats({ servers, prefix: results });
  closers.push(() => reader.close());
  const found = await reader.resultStorage().get(handles.map((handle) => (handle as { readonly id: string }).id));
  expect(found.map((result) => result?.status)).toEqual(["completed", "completed", "failed"]);
  expect(await consumers(tasks)).toBe(before);
  expect((await reader.eventStorage().query({}, {})).items).toEqual([]);

  const eventReader = nats({ servers, prefix: events });
  closers.push(() => eventReader.close());
  const { items } = await eventReader.eventStorage().query({ types: ["completed", "failed"] }, { limit: 10 });
  expect(items.map(({ type }) => type).toSorted()).toEqual(["completed", "completed", "failed"]);
});
