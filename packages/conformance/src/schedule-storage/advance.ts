// Cases of `schedule-once`: what is due, and the compare-and-set that lets one process advance.
import assert from "node:assert/strict";
import type { ScheduleStorage } from "@omniq/core";
import { anotherConnection } from "../conduct/connections.ts";
import type { Case } from "../suite.ts";
import { newSchedule } from "./new-schedule.ts";

const rule = "schedule-once";

export const advanceCases: readonly Case<ScheduleStorage>[] = [
  {
    rule,
    title: "due gives what is due, earliest first, and neither the paused nor those without a next time nor the future",
    async run(schedules, world) {
      const now = world.clock.now();
      await schedules.put(newSchedule("later", { nextAt: now - 1_000 }), null);
      await schedules.put(newSchedule("earlier", { nextAt: now - 5_000 }), null);
      await schedules.put(newSchedule("paused", { nextAt: now - 9_000, paused: true }), null);
      await schedules.put(newSchedule("none"), null);
      await schedules.put(newSchedule("future", { nextAt: now + 600_000 }), null);
      const due = await schedules.due(10);
      assert.deepEqual(
        due.schedules.map((schedule) => schedule.id),
        ["earlier", "later"],
      );
      assert.deepEqual(due.schedules, await schedules.get(["earlier", "later"]));
    },
  },
  {
    rule,
    title: "due gives at most the limit, the earliest of all",
    async run(schedules, world) {
      const now = world.clock.now();
      for (const i of [3, 1, 4, 0, 2]) await schedules.put(newSchedule(`s-${i}`, { nextAt: now - 10_000 + i }), null);
      assert.deepEqual(
        (await schedules.due(3)).schedules.map((schedule) => schedule.id),
        ["s-0", "s-1", "s-2"],
      );
      assert.equal((await schedules.due(100)).schedules.length, 5);
    },
  },
  {
    rule,
    title: "due says the store's time, and nothing that it gives is later than that",
    async run(schedules, world) {
      const before = world.clock.now();
      await schedules.put(newSchedule("a", { nextAt: before }), null);
      const { now, schedules: due } = await schedules.due(10);
      assert.ok(now >= before - 2_000 && now <= world.clock.now() + 2_000, "now is far from the store's clock");
      for (const schedule of due) assert.ok(schedule.nextAt !== null && schedule.nextAt <= now);
    },
  },
  {
    rule,
    title: "a schedule becomes due when its time comes, not before",
    async run(schedules, world) {
      const at = world.clock.now() + 150;
      await schedules.put(newSchedule("a", { nextAt: at }), null);
      const early = await schedules.due(10);
      if (early.now < at) assert.deepEqual(early.schedules, []);
      await world.clock.pass(200);
      assert.deepEqual(
        (await schedules.due(10)).schedules.map((schedule) => schedule.id),
        ["a"],
      );
    },
  },
  {
    rule,
    title: "advance with the stored revision sets nextAt and runs, nothing else, and changes the revision",
    async run(schedules, world) {
      const now = world.clock.now();
      const stored = await schedules.put(newSchedule("a", { nextAt: now - 10, rule: "r", template: "t" }), null);
      assert.ok(stored !== undefined);
      assert.equal(await schedules.advance("a", stored.revision, { nextAt: now + 60_000, runs: 1 }), true);
      const [after] = await schedules.get(["a"]);
      assert.deepEqual({ ...after, revision: "" }, { ...stored, nextAt: now + 60_000, runs: 1, revision: "" });
      assert.notEqual(after?.revision, stored.revision);
      assert.deepEqual((await schedules.due(10)).schedules, []);
    },
  },
  {
    rule,
    title: "advance with an old revision changes nothing",
    async run(schedules) {
      const stored = await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      assert.ok(stored !== undefined);
      assert.equal(await schedules.advance("a", stored.revision, { nextAt: 2, runs: 1 }), true);
      assert.equal(await schedules.advance("a", stored.revision, { nextAt: 3, runs: 9 }), false);
      const [after] = await schedules.get(["a"]);
      assert.deepEqual([after?.nextAt, after?.runs], [2, 1]);
    },
  },
  {
    rule,
    title: "a put between due and advance makes the advance fail, so that a changed rule is never run over",
    async run(schedules, world) {
      await schedules.put(newSchedule("a", { nextAt: world.clock.now() - 5 }), null);
      const [due] = (await schedules.due(1)).schedules;
      assert.ok(due !== undefined);
      await schedules.put(newSchedule("a", { nextAt: 77, rule: "changed" }), due.revision);
      assert.equal(await schedules.advance("a", due.revision, { nextAt: 99, runs: 1 }), false);
      const [after] = await schedules.get(["a"]);
      assert.deepEqual([after?.nextAt, after?.rule, after?.runs], [77, "changed", 0]);
    },
  },
  {
    rule,
    title: "advance of what is not there, or was deleted, is false and makes nothing",
    async run(schedules) {
      const stored = await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      assert.ok(stored !== undefined);
      await schedules.delete(["a"]);
      assert.equal(await schedules.advance("a", stored.revision, { nextAt: 2, runs: 1 }), false);
      assert.equal(await schedules.advance("never", stored.revision, { nextAt: 2, runs: 1 }), false);
      assert.deepEqual(await schedules.get(["a", "never"]), [undefined, undefined]);
    },
  },
  {
    rule,
    title: "advance to null ends a schedule: never due again, still there",
    async run(schedules) {
      const stored = await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      assert.ok(stored !== undefined);
      assert.equal(await schedules.advance("a", stored.revision, { nextAt: null, runs: 1 }), true);
      assert.deepEqual((await schedules.due(10)).schedules, []);
      assert.equal((await schedules.get(["a"]))[0]?.nextAt, null);
    },
  },
  {
    rule,
    title: "of advances that race on several connections one is true, each round",
    async run(schedules, world) {
      const clients = [
        schedules,
        await anotherConnection(world, "scheduleStorage"),
        await anotherConnection(world, "scheduleStorage"),
      ];
      await schedules.put(newSchedule("a", { nextAt: 1 }), null);
      for (let round = 0; round < 10; round += 1) {
        const answers = await Promise.all(
          clients.flatMap((client) =>
            [0, 1].map(async (lane) => {
              const due = (await client.due(1)).schedules[0];
              const runs = due?.runs ?? -1;
              const won =
                due !== undefined && (await client.advance("a", due.revision, { nextAt: 2 + round, runs: runs + 1 }));
              return won ? [`${runs}`, `${lane}`] : undefined;
            }),
          ),
        );
        const occurrences = answers.flatMap((answer) => (answer === undefined ? [] : [answer[0]]));
        assert.ok(occurrences.length >= 1, "nobody advanced");
        assert.equal(new Set(occurrences).size, occurrences.length, "two advanced over the same occurrence");
      }
    },
  },
  {
    rule,
    title: "unpausing brings a schedule back to what is due",
    async run(schedules) {
      const stored = await schedules.put(newSchedule("a", { nextAt: 1, paused: true }), null);
      assert.deepEqual((await schedules.due(10)).schedules, []);
      assert.ok(stored !== undefined);
      await schedules.put(newSchedule("a", { nextAt: 1, paused: false }), stored.revision);
      assert.deepEqual(
        (await schedules.due(10)).schedules.map((schedule) => schedule.id),
        ["a"],
      );
    },
  },
];
