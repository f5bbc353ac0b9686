// Cases of `damaged-item` for results, events and schedules: a damaged one hides no other, and can be deleted.
import assert from "node:assert/strict";
import type { EventStorage, ResultStorage, ScheduleStorage } from "@omniq/core";
import { eventIds, newEvent, queryAll, Tail } from "../event-storage/new-event.ts";
import { ids, listAll as listResults, newResult } from "../result-storage/new-result.ts";
import { listAll as listSchedules, newSchedule } from "../schedule-storage/new-schedule.ts";
import type { Case, World } from "../suite.ts";
import { codeOf, damage, type Damaged, reported, secret, unlessDamages } from "./damaged-item.ts";
import { within } from "./waiting.ts";

const rule = "damaged-item";
const five = ["a", "b", "c", "d", "e"];
const others = ["a", "b", "d", "e"];

async function damagedResult(storage: ResultStorage, world: World): Promise<Damaged & { storage: ResultStorage }> {
  await storage.put(five.map((id) => newResult(id, { value: `${secret} ${id}` })));
  const damaged = await damage(world, "result", "c");
  const again = damaged.backend.resultStorage?.();
  assert.ok(again);
  return { ...damaged, storage: again };
}

const ofResults = (
  title: string,
  run: (storage: ResultStorage, damaged: Damaged) => Promise<void>,
): Case<ResultStorage> => ({
  rule,
  title,
  unless: unlessDamages,
  run: async (before, world) => {
    const { storage, ...damaged } = await damagedResult(before, world);
    await run(storage, damaged);
  },
});

export const damagedResultCases: readonly Case<ResultStorage>[] = [
  ofResults("get gives a damaged result as failed with OMNIQ_ITEM_DAMAGED, and the others whole", async (storage) => {
    const found = await storage.get(five);
    assert.deepEqual(
      found.map((result) => result?.taskId),
      five,
    );
    assert.deepEqual([found[2]?.status, codeOf(found[2]?.error)], ["failed", "OMNIQ_ITEM_DAMAGED"]);
    assert.ok((found[2]?.value ?? undefined) === undefined);
    for (const [index, id] of five.entries())
      if (id !== "c") assert.deepEqual([found[index]?.status, found[index]?.value], ["completed", `${secret} ${id}`]);
  }),
  ofResults("the list has all, in pages too", async (storage) => {
    assert.deepEqual(ids(await listResults(storage, {}, 100)), five);
    assert.deepEqual(ids(await listResults(storage, {}, 2)), five);
    // A storage may know the status of what it can not read.
    const completed = await listResults(storage, { status: "completed" }, 1);
    assert.deepEqual(ids(completed.filter((result) => result.status === "completed")), others);
  }),
  ofResults("a wait for it ends, and waits for others are not held up", async (storage) => {
    const [one] = await within(storage.wait([{ taskId: "c", run: 1 }], 10_000), "the wait for the damaged result");
    assert.deepEqual([one?.taskId, one?.status, codeOf(one?.error)], ["c", "failed", "OMNIQ_ITEM_DAMAGED"]);
    const all = await within(
      storage.wait(
        five.map((taskId) => ({ taskId, run: 1 })),
        10_000,
      ),
      "the wait for all",
    );
    for (const id of others) assert.ok(all.some((result) => result.taskId === id && result.status === "completed"));
  }),
  ofResults("it is deleted like any other, and then stored anew", async (storage) => {
    await storage.delete(["c"]);
    assert.deepEqual(await storage.get(["c"]), [undefined]);
    assert.deepEqual(ids(await listResults(storage, {}, 100)), others);
    await storage.put([newResult("c", { value: "again" })]);
    assert.equal((await storage.get(["c"]))[0]?.value, "again");
  }),
  ofResults("others are stored and swept beside it", async (storage) => {
    await storage.put([newResult("f"), newResult("g")]);
    await storage.sweep(100);
    assert.deepEqual(
      (await storage.get(["f", "g"])).map((result) => result?.status),
      ["completed", "completed"],
    );
  }),
  ofResults("the backend reports it, without what is stored", async (storage, damaged) => {
    await storage.get(five);
    await listResults(storage, {}, 100);
    await reported(damaged, "c");
  }),
];

const ofEvents = (
  title: string,
  run: (storage: EventStorage, damaged: Damaged) => Promise<void>,
): Case<EventStorage> => ({
  rule,
  title,
  unless: unlessDamages,
  run: async (before, world) => {
    await before.append(five.map((id) => newEvent(id, { data: `${secret} ${id}` })));
    const damaged = await damage(world, "event", "c");
    const storage = damaged.backend.eventStorage?.();
    assert.ok(storage);
    await run(storage, damaged);
  },
});

export const damagedEventCases: readonly Case<EventStorage>[] = [
  ofEvents("a query leaves a damaged event out and gives the others, in order and whole", async (storage) => {
    for (const limit of [1, 2, 100]) {
      const events = await queryAll(storage, {}, limit);
      assert.deepEqual(eventIds(events), others);
      assert.deepEqual(
        events.map((event) => event.data),
        others.map((id) => `${secret} ${id}`),
      );
    }
    assert.deepEqual(eventIds(await queryAll(storage, { taskId: "t" }, 100)), others);
  }),
  ofEvents("a tail goes on behind it", async (storage) => {
    await using tail = new Tail(storage, {}, "start");
    assert.deepEqual(eventIds(await tail.take(4)), others);
    await storage.append([newEvent("f")]);
    assert.deepEqual(eventIds(await tail.take(1)), ["f"]);
  }),
  ofEvents("others are appended and swept beside it", async (storage) => {
    await storage.append([newEvent("f"), newEvent("a")]);
    await storage.sweep(100);
    assert.deepEqual(eventIds(await queryAll(storage, {}, 100)), [...others, "f"]);
  }),
  ofEvents("the backend reports it, without what is stored", async (storage, damaged) => {
    await queryAll(storage, {}, 100);
    // The id of an event may be lost with it.
    await reported(damaged);
  }),
];

const ofSchedules = (
  title: string,
  run: (storage: ScheduleStorage, damaged: Damaged) => Promise<void>,
): Case<ScheduleStorage> => ({
  rule,
  title,
  unless: unlessDamages,
  run: async (before, world) => {
    for (const id of five)
      await before.put(newSchedule(id, { template: `${secret} ${id}`, nextAt: world.clock.now() - 1_000 }), null);
    const damaged = await damage(world, "schedule", "c");
    const storage = damaged.backend.scheduleStorage?.();
    assert.ok(storage);
    await run(storage, damaged);
  },
});

export const damagedScheduleCases: readonly Case<ScheduleStorage>[] = [
  ofSchedules("get and list show a damaged schedule as paused, and the others whole", async (storage) => {
    const found = await storage.get(five);
    assert.deepEqual(
      found.map((schedule) => [schedule?.id, schedule?.paused]),
      five.map((id) => [id, id === "c"]),
    );
    for (const limit of [2, 100])
      assert.deepEqual(
        (await listSchedules(storage, limit)).map((schedule) => [schedule.id, schedule.paused]),
        five.map((id) => [id, id === "c"]),
      );
    assert.equal(found[3]?.template, `${secret} d`);
    assert.deepEqual([typeof found[2]?.rule, typeof found[2]?.template], ["string", "string"]);
  }),
  ofSchedules("it is never due, and the others are, with a small limit too", async (storage) => {
    assert.deepEqual((await storage.due(100)).schedules.map((schedule) => schedule.id).sort(), others);
    const seen = new Set<string>();
    for (let round = 0; round < 4; round++) {
      const [schedule] = (await storage.due(1)).schedules;
      assert.ok(schedule, "the others are due");
      seen.add(schedule.id);
      assert.equal(await storage.advance(schedule.id, schedule.revision, { nextAt: null, runs: 1 }), true);
    }
    assert.deepEqual([...seen].sort(), others);
    assert.deepEqual((await storage.due(10)).schedules, []);
  }),
  ofSchedules("it is deleted like any other, and then stored anew", async (storage) => {
    assert.deepEqual(await storage.delete(["c", "nothing"]), [true, false]);
    assert.deepEqual(await storage.get(["c"]), [undefined]);
    assert.deepEqual(
      (await listSchedules(storage, 100)).map((schedule) => schedule.id),
      others,
    );
    assert.ok(await storage.put(newSchedule("c", { template: "again" }), null));
    assert.equal((await storage.get(["c"]))[0]?.template, "again");
  }),
  ofSchedules("put takes its place without looking at it", async (storage) => {
    assert.ok(await storage.put(newSchedule("c", { template: "again" }), undefined));
    const [schedule] = await storage.get(["c"]);
    assert.deepEqual([schedule?.template, schedule?.paused], ["again", false]);
  }),
  ofSchedules("the backend reports it, without what is stored", async (storage, damaged) => {
    await storage.due(100);
    await listSchedules(storage, 100);
    await reported(damaged, "c");
  }),
];
