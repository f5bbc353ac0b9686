// Cases of `result-expiry`: from `expiresAt` on a result is gone for every verb.
import assert from "node:assert/strict";
import type { ResultStorage } from "@omniq/core";
import type { Case } from "../suite.ts";
import { ids, listAll, newResult } from "./new-result.ts";

const rule = "result-expiry";

export const expiryCases: readonly Case<ResultStorage>[] = [
  {
    rule,
    title: "expiresAt is finishedAt and ttlMs together, null for ever",
    async run(results, world) {
      const finishedAt = world.clock.now() - 10;
      const [timed, forEver] = await results.put([
        newResult("a", { finishedAt, ttlMs: 60_000 }),
        newResult("b", { ttlMs: null }),
      ]);
      assert.equal(timed?.expiresAt, finishedAt + 60_000);
      assert.equal(forEver?.expiresAt, null);
      assert.equal((await results.get(["a"]))[0]?.expiresAt, finishedAt + 60_000);
    },
  },
  {
    rule,
    title: "after its time to live a result is gone from get, list and wait, without a sweep",
    async run(results, world) {
      await results.put([newResult("short", { ttlMs: 80 }), newResult("long"), newResult("ever", { ttlMs: null })]);
      await world.clock.pass(120);
      assert.deepEqual(
        (await results.get(["short", "long", "ever"])).map((result) => result?.taskId),
        [undefined, "long", "ever"],
      );
      assert.deepEqual(ids(await listAll(results, {}, 10)), ["ever", "long"]);
      assert.deepEqual(ids(await listAll(results, { queue: "q", status: "completed" }, 1)), ["ever", "long"]);
      assert.deepEqual(await results.wait([{ taskId: "short", run: 1 }], 0), []);
    },
  },
  {
    rule,
    title: "the time counts from finishedAt, not from the put",
    async run(results, world) {
      await results.put([newResult("old", { finishedAt: world.clock.now() - 10_000, ttlMs: 5_000 })]);
      assert.deepEqual(await results.get(["old"]), [undefined]);
      await results.put([newResult("half", { finishedAt: world.clock.now() - 10_000, ttlMs: 60_000 })]);
      assert.equal((await results.get(["half"]))[0]?.taskId, "half");
    },
  },
  {
    rule,
    title: "an expired result stands in nobody's way: its run, or a lower one, can be stored anew",
    async run(results, world) {
      await results.put([newResult("a", { run: 2, value: "old", ttlMs: 50 })]);
      await world.clock.pass(80);
      const [stands] = await results.put([newResult("a", { run: 1, value: "new" })]);
      assert.equal(stands?.value, "new");
      assert.equal((await results.get(["a"]))[0]?.value, "new");
    },
  },
  {
    rule,
    title: "the first result's time to live is not changed by a put that lost",
    async run(results) {
      const [first] = await results.put([newResult("a", { ttlMs: 60_000 })]);
      await results.put([newResult("a", { ttlMs: null })]);
      assert.equal((await results.get(["a"]))[0]?.expiresAt, first?.expiresAt);
    },
  },
  {
    rule,
    title: "a higher run brings its own time to live",
    async run(results, world) {
      await results.put([newResult("a", { ttlMs: 50 })]);
      await results.put([newResult("a", { run: 2, ttlMs: null })]);
      await world.clock.pass(80);
      await results.sweep(100);
      assert.equal((await results.get(["a"]))[0]?.run, 2);
    },
  },
  {
    rule,
    title: "sweep removes only what has expired, comes to an end, and says how many",
    async run(results, world) {
      assert.equal(await results.sweep(10), 0);
      await results.put([...Array(12).keys()].map((i) => newResult(`e-${i}`, { ttlMs: 50 })));
      await results.put([newResult("live"), newResult("ever", { ttlMs: null })]);
      await world.clock.pass(80);
      let swept = 0;
      for (let calls = 0; ; calls += 1) {
        assert.ok(calls < 50, "sweep never says 0");
        const count = await results.sweep(5);
        assert.ok(Number.isSafeInteger(count) && count >= 0);
        if (count === 0) break;
        swept += count;
      }
      assert.ok(swept <= 12, `${swept} were said to be removed, but only 12 had expired`);
      assert.deepEqual(ids(await listAll(results, {}, 10)), ["ever", "live"]);
    },
  },
  {
    rule,
    title: "a very long time to live does not overflow",
    async run(results) {
      await results.put([newResult("a", { ttlMs: 1_000 * 60 * 60 * 24 * 365 * 200 })]);
      assert.equal((await results.get(["a"]))[0]?.taskId, "a");
      await results.sweep(10);
      assert.equal((await results.get(["a"]))[0]?.taskId, "a");
    },
  },
];
