// Cases of `event-order`: append order, idempotent appends.
import assert from "node:assert/strict";
import type { EventStorage, TaskEventType } from "@omniq/core";
import { anotherConnection, reopened, unlessReopens } from "../conduct/connections.ts";
import type { Case } from "../suite.ts";
import { eventIds, newEvent, queryAll } from "./new-event.ts";

const rule = "event-order";

export const orderCases: readonly Case<EventStorage>[] = [
  {
    rule,
    title: "the events of one append come back in their order, even where `at` and ids run backward",
    async run(events) {
      const now = Date.now();
      await events.append(["z", "m", "a"].map((id, i) => newEvent(id, { at: now - i * 1_000 })));
      assert.deepEqual(eventIds(await queryAll(events, { taskId: "t" }, 10)), ["z", "m", "a"]);
    },
  },
  {
    rule,
    title: "the events of several appends come back in the order of the appends",
    async run(events) {
      const at = Date.now();
      for (const id of ["c", "b", "a", "d"]) await events.append([newEvent(id, { at })]);
      assert.deepEqual(eventIds(await queryAll(events, {}, 10)), ["c", "b", "a", "d"]);
    },
  },
  {
    rule,
    title: "interleaved appends of two connections keep each task's order",
    async run(events, world) {
      const other = await anotherConnection(world, "eventStorage");
      for (let i = 0; i < 10; i += 1)
        await (i % 2 === 0 ? events : other).append([newEvent(`i-${i}`, { taskId: `t-${i % 3}` })]);
      for (let task = 0; task < 3; task += 1) {
        const expected = [...Array(10).keys()].filter((i) => i % 3 === task).map((i) => `i-${i}`);
        assert.deepEqual(eventIds(await queryAll(other, { taskId: `t-${task}` }, 10)), expected);
      }
    },
  },
  {
    rule,
    title: "every field of every type comes back as it was, with data present, empty or absent",
    async run(events) {
      const types: readonly TaskEventType[] = [
        "enqueued",
        "started",
        "progress",
        "log",
        "retrying",
        "released",
        "completed",
        "failed",
        "cancelled",
        "expired",
      ];
      const given = types.map((type, i) =>
        newEvent(`f-${i}`, {
          type,
          at: Date.now() - i,
          taskName: `name ${i}`,
          queue: `queue ${i}`,
          run: i + 1,
          attempt: i,
          ...(i % 3 === 0 ? {} : { data: i % 3 === 1 ? "" : `data ${i}` }),
        }),
      );
      await events.append(given);
      const stored = await queryAll(events, {}, 100);
      assert.equal(stored.length, given.length);
      given.forEach((event, i) => {
        const found = stored[i];
        assert.ok(found !== undefined);
        const { cursor, ...rest } = found;
        assert.ok(typeof cursor === "string" && cursor.length > 0, "a stored event has no cursor");
        assert.deepEqual({ data: undefined, ...rest }, { data: undefined, ...event });
      });
    },
  },
  {
    rule,
    title: "an id that is already there changes nothing",
    async run(events) {
      await events.append([newEvent("a", { data: "first" })]);
      await events.append([newEvent("a", { data: "second", taskId: "other", type: "failed" })]);
      assert.deepEqual(
        (await queryAll(events, {}, 10)).map((event) => event.data),
        ["first"],
      );
      assert.deepEqual(await queryAll(events, { taskId: "other" }, 10), []);
    },
  },
  {
    rule,
    title: "an id twice in one append is stored once, the first of them",
    async run(events) {
      await events.append([newEvent("a", { data: "1" }), newEvent("b"), newEvent("a", { data: "2" })]);
      assert.deepEqual(
        (await queryAll(events, {}, 10)).map((event) => [event.id, event.data]),
        [
          ["a", "1"],
          ["b", undefined],
        ],
      );
    },
  },
  {
    rule,
    title: "an append of known and new ids stores the new ones",
    async run(events) {
      await events.append([newEvent("a"), newEvent("b")]);
      await events.append([newEvent("b"), newEvent("c"), newEvent("a"), newEvent("d")]);
      assert.deepEqual(eventIds(await queryAll(events, {}, 10)), ["a", "b", "c", "d"]);
    },
  },
  {
    rule,
    title: "the same append from two connections at once is stored once",
    async run(events, world) {
      const other = await anotherConnection(world, "eventStorage");
      const batch = Array.from({ length: 20 }, (_, i) => newEvent(`same-${i}`));
      await Promise.all([events.append(batch), other.append(batch), events.append(batch), other.append(batch)]);
      assert.deepEqual(eventIds(await queryAll(events, {}, 7)), eventIds(batch));
    },
  },
  {
    rule,
    title: "an empty append is nothing",
    async run(events) {
      await events.append([]);
      assert.deepEqual(await events.query({}, {}), { items: [] });
    },
  },
  {
    rule,
    title: "concurrent appends of one connection are all stored, each batch in its own order",
    async run(events) {
      await Promise.all(
        Array.from({ length: 10 }, (_, batch) =>
          events.append(Array.from({ length: 5 }, (_, i) => newEvent(`c-${batch}-${i}`, { taskId: `t-${batch}` }))),
        ),
      );
      for (let batch = 0; batch < 10; batch += 1) {
        assert.deepEqual(
          eventIds(await queryAll(events, { taskId: `t-${batch}` }, 10)),
          [0, 1, 2, 3, 4].map((i) => `c-${batch}-${i}`),
        );
      }
    },
  },
  {
    rule,
    title: "acknowledged events are there after the death of every process, in order, and their ids are still known",
    unless: unlessReopens,
    async run(events, world) {
      await events.append([newEvent("b"), newEvent("a")]);
      const again = await reopened(world, "eventStorage");
      await again.append([newEvent("a"), newEvent("c")]);
      assert.deepEqual(eventIds(await queryAll(again, {}, 10)), ["b", "a", "c"]);
    },
  },
];
