// Cases of `schedule-once`: put with and without a revision, get, list, delete.
import assert from "node:assert/strict";
import type { ScheduleStorage } from "@omniq/core";
import { anotherConnection, reopened, unlessReopens } from "../conduct/connections.ts";
import { rejectsWith } from "../conduct/waiting.ts";
import type { Case } from "../suite.ts";
import { given, listAll, newSchedule } from "./new-schedule.ts";

const rule = "schedule-once";

export const storeCases: readonly Case<ScheduleStorage>[] = [
  {
    rule,
    title: "put answers with the stored schedule and its revision, and get finds it, all fields",
    async run(schedules) {
      const schedule = newSchedule("a", {
        rule: '{"cron":1}',
        template: "t",
        nextAt: Date.now() + 1_000,
        runs: 7,
        paused: true,
      });
      const stored = await schedules.put(schedule, undefined);
      assert.deepEqual(given(stored), schedule);
      assert.ok(typeof stored?.revision === "string" && stored.revision.length > 0);
      assert.deepEqual((await schedules.get(["a"]))[0], stored);
    },
  },
  {
    rule,
    title: "put with undefined replaces whatever is there, with a new revision",
    async run(schedules) {
      const first = await schedules.put(newSchedule("a"), undefined);
      const second = await schedules.put(newSchedule("a", { runs: 3, rule: "other" }), undefined);
      assert.notEqual(second?.revision, first?.revision);
      assert.equal((await schedules.get(["a"]))[0]?.rule, "other");
    },
  },
  {
    rule,
    title: "the same content written again still has a new revision",
    async run(schedules) {
      const first = await schedules.put(newSchedule("a"), undefined);
      const second = await schedules.put(newSchedule("a"), undefined);
      assert.notEqual(second?.revision, first?.revision);
    },
  },
  {
    rule,
    title: "put with null stores only where there is none",
    async run(schedules) {
      assert.ok((await schedules.put(newSchedule("a", { rule: "first" }), null)) !== undefined);
      assert.equal(await schedules.put(newSchedule("a", { rule: "second" }), null), undefined);
      assert.equal((await schedules.get(["a"]))[0]?.rule, "first");
    },
  },
  {
    rule,
    title: "put with a revision replaces only that one",
    async run(schedules) {
      const first = await schedules.put(newSchedule("a"), null);
      assert.ok(first !== undefined);
      const second = await schedules.put(newSchedule("a", { rule: "second" }), first.revision);
      assert.equal(second?.rule, "second");
      assert.equal(await schedules.put(newSchedule("a", { rule: "late" }), first.revision), undefined);
      assert.deepEqual((await schedules.get(["a"]))[0], second);
    },
  },
  {
    rule,
    title: "put with a revision of what was deleted, or of another schedule, is a conflict and stores nothing",
    async run(schedules) {
      const first = await schedules.put(newSchedule("a"), null);
      const other = await schedules.put(newSchedule("b"), null);
      await schedules.put(newSchedule("b"), undefined);
      assert.ok(first !== undefined && other !== undefined);
      await schedules.delete(["a"]);
      assert.equal(await schedules.put(newSchedule("a"), first.revision), undefined);
      assert.deepEqual(await schedules.get(["a"]), [undefined]);
    },
  },
  {
    rule,
    title: "a revision never comes back: not after delete and put of the same content",
    async run(schedules) {
      const first = await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      assert.ok(first !== undefined);
      await schedules.delete(["a"]);
      const second = await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      assert.notEqual(second?.revision, first.revision);
      assert.equal(await schedules.advance("a", first.revision, { nextAt: 2, runs: 1 }), false);
      assert.equal(await schedules.put(newSchedule("a", { rule: "late" }), first.revision), undefined);
      assert.deepEqual((await schedules.get(["a"]))[0], second);
    },
  },
  {
    rule,
    title: "of puts with null that race on two connections one wins",
    async run(schedules, world) {
      const other = await anotherConnection(world, "scheduleStorage");
      for (let round = 0; round < 5; round += 1) {
        const answers = await Promise.all(
          Array.from({ length: 8 }, (_, i) =>
            (i % 2 === 0 ? schedules : other).put(newSchedule(`r-${round}`, { runs: i }), null),
          ),
        );
        const won = answers.filter((answer) => answer !== undefined);
        assert.equal(won.length, 1);
        assert.deepEqual((await schedules.get([`r-${round}`]))[0], won[0]);
      }
    },
  },
  {
    rule,
    title: "get and delete answer in the order asked",
    async run(schedules) {
      await schedules.put(newSchedule("a"), null);
      await schedules.put(newSchedule("b"), null);
      assert.deepEqual(
        (await schedules.get(["b", "x", "a"])).map((schedule) => schedule?.id),
        ["b", undefined, "a"],
      );
      assert.deepEqual(await schedules.delete(["x", "a"]), [false, true]);
      assert.deepEqual(await schedules.delete(["a"]), [false]);
      assert.deepEqual(
        (await schedules.get(["a", "b"])).map((schedule) => schedule?.id),
        [undefined, "b"],
      );
      assert.deepEqual(await schedules.get([]), []);
      assert.deepEqual(await schedules.delete([]), []);
    },
  },
  {
    rule,
    title: "the list is in the order of the ids' UTF-8 bytes, in pages, each once",
    async run(schedules) {
      // U+FFFD sorts before U+1F600 by bytes and after it by UTF-16 code units.
      const ids = ["\u{1f600}", "\ufffd", "a", "B", "b", "é", "z", "10", "9", "A b", "~"];
      for (const id of ids) await schedules.put(newSchedule(id), null);
      const expected = [...ids].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      for (const limit of [1, 3, 100])
        assert.deepEqual(
          (await listAll(schedules, limit)).map((schedule) => schedule.id),
          expected,
        );
    },
  },
  {
    rule,
    title: "pages are stable while schedules come and go",
    async run(schedules) {
      for (const id of ["b", "d", "f", "h"]) await schedules.put(newSchedule(id), null);
      const first = await schedules.list({ limit: 2 });
      assert.deepEqual(
        first.items.map((schedule) => schedule.id),
        ["b", "d"],
      );
      assert.ok(first.next !== undefined);
      await schedules.delete(["b", "d"]);
      await schedules.put(newSchedule("a"), null);
      await schedules.put(newSchedule("g"), null);
      const rest = await schedules.list({ limit: 10, cursor: first.next });
      assert.deepEqual(
        rest.items.map((schedule) => schedule.id),
        ["f", "g", "h"],
      );
      assert.equal(rest.next, undefined);
    },
  },
  {
    rule,
    title: "a cursor that no list gave is refused",
    async run(schedules) {
      await rejectsWith(
        "OMNIQ_INVALID_OPTION",
        () => schedules.list({ cursor: "\u0001 no cursor" }),
        "list with a foreign cursor",
      );
    },
  },
  {
    rule,
    title: "rule and template of 64 KiB come back as they were",
    async run(schedules) {
      const text = "é\u{1f600}'\"\\%_".repeat(6_000);
      await schedules.put(newSchedule("a", { rule: text, template: `${text}!` }), null);
      const [stored] = await schedules.get(["a"]);
      assert.equal(stored?.rule, text);
      assert.equal(stored?.template, `${text}!`);
    },
  },
  {
    rule,
    title: "schedules and their revisions survive the death of every process",
    unless: unlessReopens,
    async run(schedules, world) {
      const stored = await schedules.put(newSchedule("a", { nextAt: 5, runs: 2 }), null);
      assert.ok(stored !== undefined);
      const again = await reopened(world, "scheduleStorage");
      assert.deepEqual((await again.get(["a"]))[0], stored);
      assert.equal(await again.advance("a", stored.revision, { nextAt: 6, runs: 3 }), true);
    },
  },
];
