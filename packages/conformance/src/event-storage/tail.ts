// Cases of `event-tail`: from a cursor on, all that follows, live, each once.
import assert from "node:assert/strict";
import type { EventStorage } from "@omniq/core";
import { anotherConnection, reopened, unlessReopens } from "../conduct/connections.ts";
import { awaitedLater, settleDown, within } from "../conduct/waiting.ts";
import type { Case } from "../suite.ts";
import { eventIds, newEvent, queryAll, Tail } from "./new-event.ts";

const rule = "event-tail";

export const tailCases: readonly Case<EventStorage>[] = [
  {
    rule,
    title: "from the start: what is kept, then what comes",
    async run(events) {
      await events.append([newEvent("a"), newEvent("b")]);
      await using tail = new Tail(events, {}, "start");
      assert.deepEqual(eventIds(await tail.take(2)), ["a", "b"]);
      const waiting = awaitedLater(tail.take(2));
      await settleDown();
      await events.append([newEvent("c")]);
      await events.append([newEvent("d")]);
      assert.deepEqual(eventIds(await waiting), ["c", "d"]);
    },
  },
  {
    rule,
    title: "from any event's cursor, whether a query or a tail gave it, exactly what follows",
    async run(events) {
      await events.append(Array.from({ length: 6 }, (_, i) => newEvent(`e-${i}`)));
      const stored = await queryAll(events, {}, 10);
      await using fromStart = new Tail(events, {}, "start");
      const tailed = await fromStart.take(6);
      for (let i = 0; i < 5; i += 1) {
        for (const cursor of [stored[i]?.cursor, tailed[i]?.cursor]) {
          assert.ok(cursor !== undefined);
          await using tail = new Tail(events, {}, cursor);
          assert.deepEqual(
            eventIds(await tail.take(5 - i)),
            stored.slice(i + 1).map((event) => event.id),
          );
        }
      }
    },
  },
  {
    rule,
    title: "from now: nothing of before, and once it has begun nothing is missed",
    async run(events) {
      await events.append([newEvent("before-1"), newEvent("before-2")]);
      await using tail = new Tail(events, {}, "now");
      let first: string | undefined;
      const begun = tail.next().then((event) => (first = event?.id));
      let appended = 0;
      for (; first === undefined && appended < 200; appended += 1) {
        await events.append([newEvent(`n-${appended}`)]);
        await settleDown(10);
      }
      await begun;
      assert.match(first ?? "", /^n-\d+$/, "an event from before the tail began was given");
      const from = Number(first?.slice(2));
      await events.append([newEvent("n-last")]);
      const expected = [...Array.from({ length: appended - from - 1 }, (_, i) => `n-${from + 1 + i}`), "n-last"];
      assert.deepEqual(eventIds(await tail.take(expected.length)), expected);
    },
  },
  {
    rule,
    title: "filters hold for what is kept and for what comes",
    async run(events) {
      const filter = { taskId: "a", types: ["log", "completed"] as const, queue: "x" };
      const wanted = { taskId: "a", queue: "x" };
      await events.append([
        newEvent("1", wanted),
        newEvent("2", { ...wanted, taskId: "b" }),
        newEvent("3", { ...wanted, type: "started" }),
      ]);
      await using tail = new Tail(events, filter, "start");
      assert.deepEqual(eventIds(await tail.take(1)), ["1"]);
      const next = tail.take(2);
      await settleDown();
      await events.append([newEvent("4", { ...wanted, queue: "y" }), newEvent("5", { ...wanted, type: "completed" })]);
      await events.append([newEvent("6", { ...wanted, type: "failed" }), newEvent("7", wanted)]);
      assert.deepEqual(eventIds(await next), ["5", "7"]);
    },
  },
  {
    rule,
    title: "what another connection appends arrives live",
    async run(events, world) {
      const other = await anotherConnection(world, "eventStorage");
      await using tail = new Tail(events, {}, "start");
      const waiting = awaitedLater(tail.take(3));
      await settleDown();
      for (const id of ["a", "b", "c"]) await other.append([newEvent(id)]);
      assert.deepEqual(eventIds(await waiting), ["a", "b", "c"]);
    },
  },
  {
    rule,
    title: "with many concurrent writers on several connections, each event comes once and none is missed",
    timeoutMs: 60_000,
    async run(events, world) {
      const writers = [
        events,
        await anotherConnection(world, "eventStorage"),
        await anotherConnection(world, "eventStorage"),
      ];
      await using tail = new Tail(events, {}, "start");
      const reading = awaitedLater(tail.take(3 * 20 * 4));
      await Promise.all(
        writers.flatMap((writer, w) =>
          [0, 1].map(async (lane) => {
            for (let i = 0; i < 10; i += 1) {
              await writer.append(
                Array.from({ length: 4 }, (_, n) => newEvent(`w-${w}-${lane}-${i}-${n}`, { taskId: `w-${w}-${lane}` })),
              );
            }
          }),
        ),
      );
      const seen = eventIds(await within(reading, "all events", 40_000));
      assert.equal(new Set(seen).size, seen.length, "an event came twice");
      assert.equal(seen.length, 240, "events are missing");
      for (let w = 0; w < 3; w += 1) {
        for (const lane of [0, 1]) {
          const own = seen.filter((id) => id.startsWith(`w-${w}-${lane}-`));
          const expected = [...Array(40).keys()].map((i) => `w-${w}-${lane}-${Math.floor(i / 4)}-${i % 4}`);
          assert.deepEqual(own, expected, "one task's events came in another order than they were appended in");
        }
      }
    },
  },
  {
    rule,
    title: "a tail gives the same order as a query",
    async run(events, world) {
      const other = await anotherConnection(world, "eventStorage");
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? events : other).append([newEvent(`o-${i}`)])),
      );
      await using tail = new Tail(events, {}, "start");
      assert.deepEqual(eventIds(await tail.take(20)), eventIds(await queryAll(events, {}, 6)));
    },
  },
  {
    rule,
    title: "a duplicate append does not come again",
    async run(events) {
      await using tail = new Tail(events, {}, "start");
      const reading = awaitedLater(tail.take(3));
      await events.append([newEvent("a"), newEvent("b")]);
      await events.append([newEvent("a")]);
      await events.append([newEvent("b"), newEvent("c")]);
      assert.deepEqual(eventIds(await reading), ["a", "b", "c"]);
    },
  },
  {
    rule,
    title: "an abort ends a tail that waits, and others go on",
    async run(events) {
      await using aborted = new Tail(events, {}, "start");
      await using going = new Tail(events, {}, "start");
      const end = aborted.next("the end of the aborted tail");
      const next = going.next();
      await settleDown();
      aborted.abort();
      assert.equal(await end, undefined, "an aborted tail ends");
      await events.append([newEvent("a")]);
      assert.equal((await next)?.id, "a");
    },
  },
  {
    rule,
    title: "leaving the loop lets go of the tail",
    async run(events) {
      await events.append([newEvent("a"), newEvent("b")]);
      const seen: string[] = [];
      const loop = (async (): Promise<void> => {
        for await (const event of events.tail({}, "start")) {
          seen.push(event.id);
          break;
        }
      })();
      await within(loop, "the end of the loop");
      assert.deepEqual(seen, ["a"]);
    },
  },
  {
    rule,
    title: "a tail that was left behind goes on from its last cursor without a gap",
    async run(events) {
      const seen: string[] = [];
      let cursor: string | undefined;
      for (let round = 0; round < 4; round += 1) {
        await events.append(Array.from({ length: 3 }, (_, i) => newEvent(`r-${round}-${i}`)));
        await using tail = new Tail(events, {}, cursor ?? "start");
        for (const event of await tail.take(round === 3 ? 6 : 2)) {
          seen.push(event.id);
          cursor = event.cursor;
        }
      }
      assert.deepEqual(
        seen,
        [...Array(12).keys()].map((i) => `r-${Math.floor(i / 3)}-${i % 3}`),
      );
    },
  },
  {
    rule,
    title: "a cursor is good after the death of every process",
    unless: unlessReopens,
    async run(events, world) {
      await events.append([newEvent("a"), newEvent("b"), newEvent("c")]);
      const cursor = (await queryAll(events, {}, 10))[1]?.cursor;
      assert.ok(cursor !== undefined);
      const again = await reopened(world, "eventStorage");
      await again.append([newEvent("d")]);
      await using tail = new Tail(again, {}, cursor);
      assert.deepEqual(eventIds(await tail.take(2)), ["c", "d"]);
    },
  },
];
