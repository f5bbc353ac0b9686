// Cases of `hostile-input` for the three storages.
import assert from "node:assert/strict";
import fc from "fast-check";
import { commonPayloadBytes, type EventStorage, type ResultStorage, type ScheduleStorage } from "@omniq/core";
import { newEvent, queryAll } from "../event-storage/new-event.ts";
import { listAll as listResults, newResult } from "../result-storage/new-result.ts";
import { listAll as listSchedules, newSchedule } from "../schedule-storage/new-schedule.ts";
import type { Case } from "../suite.ts";
import { anyKey, anyText, hostileKeys, textOfBytes } from "./hostile-text.ts";

const rule = "hostile-input";
const keys = [...new Set(hostileKeys)];

export const hostileResultCases: readonly Case<ResultStorage>[] = [
  {
    rule,
    title: "ids, names and queues that look alike are kept apart",
    async run(results) {
      await results.put(keys.map((key) => newResult(key, { name: key, queue: key, value: key })));
      const stored = await results.get(keys);
      keys.forEach((key, i) =>
        assert.deepEqual([stored[i]?.name, stored[i]?.queue, stored[i]?.value], [key, key, key]),
      );
      for (const key of ["%", "_", "a", "A", "a ", "__proto__"]) {
        assert.deepEqual(
          (await listResults(results, { queue: key }, 10)).map((result) => result.taskId),
          [key],
        );
        assert.deepEqual(
          (await listResults(results, { name: key }, 10)).map((result) => result.taskId),
          [key],
        );
      }
      await results.delete(["%", "*"]);
      assert.equal((await listResults(results, {}, 50)).length, keys.length - 2);
    },
  },
  {
    rule,
    title: "any id and any text comes back as it was, and wakes its waiter",
    timeoutMs: 60_000,
    async run(results) {
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(anyKey, { minLength: 1, maxLength: 5 }),
          anyText,
          anyText,
          async (ids, value, error) => {
            await results.delete(ids);
            await results.put(ids.map((id) => newResult(id, { value, error, name: id })));
            for (const found of [
              await results.get(ids),
              await Promise.all(ids.map(async (taskId) => (await results.wait([{ taskId, run: 1 }], 5_000))[0])),
            ]) {
              assert.deepEqual(
                found.map((result) => [result?.taskId, result?.name, result?.value, result?.error]),
                ids.map((id) => [id, id, value, error]),
              );
            }
          },
        ),
        { numRuns: 25 },
      );
    },
  },
  {
    rule,
    title: "values of exactly 512 KiB pass",
    async run(results) {
      assert.ok(results.capabilities.maxValueBytes >= commonPayloadBytes);
      const value = textOfBytes(commonPayloadBytes);
      await results.put([newResult("big", { value })]);
      assert.ok((await results.get(["big"]))[0]?.value === value, "another value came back");
    },
  },
  {
    rule,
    title: "a batch of maxBatch results (at most 1,000 tried) is taken whole",
    async run(results) {
      const count = Math.min(results.capabilities.maxBatch, 1_000);
      const answers = await results.put(Array.from({ length: count }, (_, i) => newResult(`r-${i}`)));
      assert.equal(answers.length, count);
      assert.ok(
        (await results.get(answers.map((answer) => answer.taskId))).every((result, i) => result?.taskId === `r-${i}`),
      );
    },
  },
];

export const hostileEventCases: readonly Case<EventStorage>[] = [
  {
    rule,
    title: "ids, task ids, names and queues that look alike are kept apart",
    async run(events) {
      await events.append(keys.map((key) => newEvent(key, { taskId: key, taskName: key, queue: key, data: key })));
      const all = await queryAll(events, {}, 50);
      assert.deepEqual(
        all.map((event) => [event.id, event.taskId, event.taskName, event.queue, event.data]),
        keys.map((key) => [key, key, key, key, key]),
      );
      for (const key of ["%", "_", "*", ">", "a", "A", "a ", "a.b", "__proto__"]) {
        assert.deepEqual(
          (await queryAll(events, { taskId: key }, 10)).map((event) => event.id),
          [key],
        );
        assert.deepEqual(
          (await queryAll(events, { queue: key }, 10)).map((event) => event.id),
          [key],
        );
      }
    },
  },
  {
    rule,
    title: "any ids and any data come back as they were",
    timeoutMs: 60_000,
    async run(events) {
      const seen = new Set<string>();
      await fc.assert(
        fc.asyncProperty(
          fc.uniqueArray(anyKey, { minLength: 1, maxLength: 5 }),
          anyKey,
          anyText,
          async (ids, taskId, data) => {
            const fresh = ids.filter((id) => !seen.has(id));
            for (const id of fresh) seen.add(id);
            await events.append(fresh.map((id) => newEvent(id, { taskId, data, taskName: id, queue: id })));
            const stored = (await queryAll(events, { taskId }, 100)).filter((event) => fresh.includes(event.id));
            assert.deepEqual(
              stored.map((event) => [event.id, event.taskName, event.queue, event.data]),
              fresh.map((id) => [id, id, id, data]),
            );
          },
        ),
        { numRuns: 25 },
      );
    },
  },
  {
    rule,
    title: "data of exactly 512 KiB passes",
    async run(events) {
      assert.ok(events.capabilities.maxDataBytes >= commonPayloadBytes);
      const data = textOfBytes(commonPayloadBytes);
      await events.append([newEvent("big", { data }), newEvent("small")]);
      const stored = await queryAll(events, {}, 10);
      assert.ok(stored[0]?.data === data, "other data came back");
      assert.equal(stored[1]?.id, "small");
    },
  },
  {
    rule,
    title: "a batch of maxBatch events (at most 1,000 tried) is taken whole, in order",
    async run(events) {
      const given = Array.from({ length: Math.min(events.capabilities.maxBatch, 1_000) }, (_, i) => newEvent(`e-${i}`));
      await events.append(given);
      assert.deepEqual(
        (await queryAll(events, {}, 1_000)).map((event) => event.id),
        given.map((event) => event.id),
      );
    },
  },
];

export const hostileScheduleCases: readonly Case<ScheduleStorage>[] = [
  {
    rule,
    title: "ids that look alike are schedules apart",
    async run(schedules) {
      for (const key of keys)
        assert.ok(
          (await schedules.put(newSchedule(key, { rule: key, template: key }), null)) !== undefined,
          JSON.stringify(key),
        );
      assert.deepEqual(
        (await schedules.get(keys)).map((schedule) => [schedule?.id, schedule?.rule]),
        keys.map((key) => [key, key]),
      );
      assert.deepEqual(new Set((await listSchedules(schedules, 20)).map((schedule) => schedule.id)), new Set(keys));
      assert.deepEqual(await schedules.delete(["%", "*", "nobody"]), [true, true, false]);
      assert.equal((await listSchedules(schedules, 100)).length, keys.length - 2);
    },
  },
  {
    rule,
    title: "any id, rule and template comes back as it was",
    timeoutMs: 60_000,
    async run(schedules) {
      await fc.assert(
        fc.asyncProperty(anyKey, anyText, anyText, async (id, ruleText, template) => {
          const stored = await schedules.put(newSchedule(id, { rule: ruleText, template, nextAt: 1 }), undefined);
          assert.deepEqual([stored?.id, stored?.rule, stored?.template], [id, ruleText, template]);
          assert.deepEqual((await schedules.get([id]))[0], stored);
          assert.equal(await schedules.advance(id, stored?.revision ?? "", { nextAt: null, runs: 1 }), true);
          assert.deepEqual(await schedules.delete([id]), [true]);
        }),
        { numRuns: 25 },
      );
    },
  },
  {
    rule,
    title: "a revision that nobody gave is a conflict, never an error",
    async run(schedules) {
      await schedules.put(newSchedule("a"), null);
      for (const revision of ["x", "%", "'", "0", "-1", "__proto__", "9".repeat(30)]) {
        assert.equal(await schedules.put(newSchedule("a", { rule: "no" }), revision), undefined);
        assert.equal(await schedules.advance("a", revision, { nextAt: 1, runs: 1 }), false);
      }
      assert.equal((await schedules.get(["a"]))[0]?.rule, "rule");
    },
  },
];
