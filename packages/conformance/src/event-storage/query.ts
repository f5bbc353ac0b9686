// Cases of `event-query`: filters, pages, and what is past its time.
import assert from "node:assert/strict";
import type { EventStorage } from "@omniq/core";
import { rejectsWith } from "../conduct/waiting.ts";
import type { Case } from "../suite.ts";
import { eventIds, newEvent, queryAll } from "./new-event.ts";

const rule = "event-query";

/** Six events of two tasks, three types, two queues, one millisecond apart from `base` on. */
async function six(events: EventStorage, base: number): Promise<void> {
  await events.append([
    newEvent("0", { at: base, taskId: "a", type: "enqueued", queue: "x" }),
    newEvent("1", { at: base + 1, taskId: "a", type: "started", queue: "x" }),
    newEvent("2", { at: base + 2, taskId: "b", type: "enqueued", queue: "y" }),
    newEvent("3", { at: base + 3, taskId: "a", type: "completed", queue: "x" }),
    newEvent("4", { at: base + 4, taskId: "b", type: "started", queue: "y" }),
    newEvent("5", { at: base + 5, taskId: "c", type: "enqueued", queue: "x" }),
  ]);
}

export const queryCases: readonly Case<EventStorage>[] = [
  {
    rule,
    title: "by task",
    async run(events) {
      await six(events, Date.now() - 100);
      assert.deepEqual(eventIds(await queryAll(events, { taskId: "a" }, 10)), ["0", "1", "3"]);
      assert.deepEqual(eventIds(await queryAll(events, { taskId: "nobody" }, 10)), []);
    },
  },
  {
    rule,
    title: "by one type and by several",
    async run(events) {
      await six(events, Date.now() - 100);
      assert.deepEqual(eventIds(await queryAll(events, { types: ["started"] }, 10)), ["1", "4"]);
      assert.deepEqual(eventIds(await queryAll(events, { types: ["completed", "enqueued"] }, 10)), [
        "0",
        "2",
        "3",
        "5",
      ]);
    },
  },
  {
    rule,
    title: "by queue",
    async run(events) {
      await six(events, Date.now() - 100);
      assert.deepEqual(eventIds(await queryAll(events, { queue: "y" }, 10)), ["2", "4"]);
    },
  },
  {
    rule,
    title: "by time: from inclusive, to exclusive",
    async run(events) {
      const base = Date.now() - 100;
      await six(events, base);
      assert.deepEqual(eventIds(await queryAll(events, { from: base + 2 }, 10)), ["2", "3", "4", "5"]);
      assert.deepEqual(eventIds(await queryAll(events, { to: base + 2 }, 10)), ["0", "1"]);
      assert.deepEqual(eventIds(await queryAll(events, { from: base + 1, to: base + 3 }, 10)), ["1", "2"]);
      assert.deepEqual(eventIds(await queryAll(events, { from: base + 3, to: base + 3 }, 10)), []);
    },
  },
  {
    rule,
    title: "all filters together",
    async run(events) {
      const base = Date.now() - 100;
      await six(events, base);
      const filter = {
        taskId: "a",
        types: ["started", "completed"] as const,
        queue: "x",
        from: base + 2,
        to: base + 10,
      };
      assert.deepEqual(eventIds(await queryAll(events, filter, 10)), ["3"]);
      assert.deepEqual(eventIds(await queryAll(events, { ...filter, queue: "y" }, 10)), []);
    },
  },
  {
    rule,
    title: "pages hold at most the limit and together every event once, in append order, also where `at` is the same",
    async run(events) {
      const at = Date.now();
      const all = Array.from({ length: 25 }, (_, i) => newEvent(`p-${(i * 7) % 25}`, { at, taskId: `t-${i % 2}` }));
      await events.append(all);
      assert.equal((await events.query({}, { limit: 4 })).items.length, 4);
      assert.deepEqual(eventIds(await queryAll(events, {}, 4)), eventIds(all));
      assert.deepEqual(eventIds(await queryAll(events, {}, 1)), eventIds(all));
      assert.deepEqual(
        eventIds(await queryAll(events, { taskId: "t-1" }, 5)),
        eventIds(all.filter((event) => event.taskId === "t-1")),
      );
    },
  },
  {
    rule,
    title: "pages are stable while events are appended, also older ones",
    async run(events) {
      const at = Date.now();
      await events.append(Array.from({ length: 6 }, (_, i) => newEvent(`s-${i}`, { at: at + i })));
      const first = await events.query({}, { limit: 3 });
      assert.ok(first.next !== undefined);
      await events.append([newEvent("older", { at: at - 5_000 }), newEvent("newer", { at: at + 5_000 })]);
      const seen = eventIds(first.items);
      let cursor: string | undefined = first.next;
      while (cursor !== undefined) {
        const page = await events.query({}, { limit: 3, cursor });
        seen.push(...eventIds(page.items));
        cursor = page.next;
      }
      assert.deepEqual(seen, ["s-0", "s-1", "s-2", "s-3", "s-4", "s-5", "older", "newer"]);
    },
  },
  {
    rule,
    title: "a page holds 100 by default, and the last one has no next",
    async run(events) {
      const all = Array.from({ length: 101 }, (_, i) => newEvent(`d-${i}`));
      for (let i = 0; i < all.length; i += 50) await events.append(all.slice(i, i + 50));
      const first = await events.query({}, {});
      assert.equal(first.items.length, 100);
      assert.ok(first.next !== undefined);
      const last = await events.query({}, { cursor: first.next });
      assert.deepEqual(eventIds(last.items), ["d-100"]);
      assert.equal(last.next, undefined);
    },
  },
  {
    rule,
    title: "nothing found is an empty page without next",
    async run(events) {
      assert.deepEqual(eventIds((await events.query({ taskId: "t" }, {})).items), []);
      await six(events, Date.now());
      const page = await events.query({ taskId: "nobody", queue: "x" }, { limit: 1 });
      assert.deepEqual(page.items, []);
      assert.equal(page.next, undefined);
    },
  },
  {
    rule,
    title: "a cursor that no query gave is refused",
    async run(events) {
      await six(events, Date.now());
      await rejectsWith(
        "OMNIQ_INVALID_OPTION",
        () => events.query({}, { cursor: "no cursor of this query" }),
        "query with a foreign cursor",
      );
    },
  },
  {
    rule,
    title: "a cursor of a query with another filter is refused",
    async run(events) {
      await six(events, Date.now());
      const { next } = await events.query({}, { limit: 1 });
      assert.ok(next !== undefined);
      for (const filter of [{ taskId: "t" }, { queue: "q" }, { types: ["started"] as const }, { from: 0 }, { to: 0 }])
        await rejectsWith(
          "OMNIQ_INVALID_OPTION",
          () => events.query(filter, { cursor: next }),
          "another filter's cursor",
        );
      assert.equal((await events.query({}, { cursor: next })).items.length, 5);
    },
  },
  {
    rule,
    title: "sweep removes events that are long past their time and leaves the others",
    async run(events, world) {
      const now = world.clock.now();
      await events.append([newEvent("ancient", { at: now - 3_650 * 86_400_000 }), newEvent("fresh", { at: now })]);
      for (let calls = 0; ; calls += 1) {
        assert.ok(calls < 50, "sweep never says 0");
        const count = await events.sweep(10);
        assert.ok(Number.isSafeInteger(count) && count >= 0);
        if (count === 0) break;
      }
      assert.deepEqual(eventIds(await queryAll(events, {}, 10)), ["fresh"]);
    },
  },
];
