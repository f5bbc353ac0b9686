// Cases of `result-wait`: who is woken, when, and with what.
import assert from "node:assert/strict";
import type { ResultStorage } from "@omniq/core";
import { anotherConnection } from "../conduct/connections.ts";
import { awaitedLater, settleDown, within } from "../conduct/waiting.ts";
import type { Case } from "../suite.ts";
import { newResult } from "./new-result.ts";

const rule = "result-wait";
const long = 20_000;

export const waitCases: readonly Case<ResultStorage>[] = [
  {
    rule,
    title: "a result that is there is answered at once",
    async run(results) {
      const [stored] = await results.put([newResult("a")]);
      assert.deepEqual(await within(results.wait([{ taskId: "a", run: 1 }], long), "the result"), [stored]);
    },
  },
  {
    rule,
    title: "a waiter wakes when another connection puts the result",
    async run(results, world) {
      const other = await anotherConnection(world, "resultStorage");
      const waiting = awaitedLater(results.wait([{ taskId: "a", run: 1 }], long));
      await settleDown();
      await other.put([newResult("a", { value: "here" })]);
      const found = await within(waiting, "the result", 10_000);
      assert.deepEqual(
        found.map((result) => result.value),
        ["here"],
      );
    },
  },
  {
    rule,
    title: "of several references, all results that are there come together",
    async run(results) {
      await results.put([newResult("a"), newResult("c")]);
      const found = await within(
        results.wait(
          ["a", "b", "c"].map((taskId) => ({ taskId, run: 1 })),
          long,
        ),
        "the results",
      );
      assert.deepEqual(found.map((result) => result.taskId).sort(), ["a", "c"]);
    },
  },
  {
    rule,
    title: "one result of many awaited ones is enough to wake",
    async run(results) {
      const references = Array.from({ length: 50 }, (_, i) => ({ taskId: `w-${i}`, run: 1 }));
      const waiting = awaitedLater(results.wait(references, long));
      await settleDown();
      await results.put([newResult("other"), newResult("w-37")]);
      assert.deepEqual(
        (await within(waiting, "the result")).map((result) => result.taskId),
        ["w-37"],
      );
    },
  },
  {
    rule,
    title: "a result of a lower run than the one asked for wakes nobody; the awaited run does",
    async run(results) {
      await results.put([newResult("a", { run: 1 })]);
      assert.deepEqual(await results.wait([{ taskId: "a", run: 2 }], 0), []);
      const waiting = awaitedLater(results.wait([{ taskId: "a", run: 2 }], long));
      await settleDown();
      await results.put([newResult("a", { run: 2, value: "second run" })]);
      assert.deepEqual(
        (await within(waiting, "the result of run 2")).map((result) => result.value),
        ["second run"],
      );
    },
  },
  {
    rule,
    title: "a result of a higher run will do",
    async run(results) {
      const waiting = awaitedLater(results.wait([{ taskId: "a", run: 1 }], long));
      await settleDown();
      await results.put([newResult("a", { run: 3 })]);
      assert.deepEqual(
        (await within(waiting, "the result")).map((result) => result.run),
        [3],
      );
    },
  },
  {
    rule,
    title: "with none, the wait ends empty after waitMs",
    async run(results, world) {
      const waiting = awaitedLater(results.wait([{ taskId: "never", run: 1 }], 40));
      await world.clock.pass(60);
      assert.deepEqual(await within(waiting, "the end of the wait"), []);
    },
  },
  {
    rule,
    title: "waitMs 0 answers at once, and no references never hang",
    async run(results, world) {
      assert.deepEqual(await within(results.wait([{ taskId: "never", run: 1 }], 0), "an answer"), []);
      const none = results.wait([], 20);
      await world.clock.pass(30);
      assert.deepEqual(await within(none, "an answer for no references"), []);
    },
  },
  {
    rule,
    title: "an aborted wait rejects with the signal's reason; other waits go on",
    async run(results) {
      const stop = new AbortController();
      const aborted = results.wait([{ taskId: "a", run: 1 }], long, { signal: stop.signal });
      const going = awaitedLater(results.wait([{ taskId: "a", run: 1 }], long));
      await settleDown();
      const reason = new Error("enough");
      stop.abort(reason);
      await assert.rejects(within(aborted, "the aborted wait"), (error) => error === reason);
      await results.put([newResult("a")]);
      assert.equal((await within(going, "the result")).length, 1);
    },
  },
  {
    rule,
    title: "an already aborted signal rejects before anything is waited for",
    async run(results) {
      const reason = new Error("before");
      await assert.rejects(
        within(results.wait([{ taskId: "a", run: 1 }], long, { signal: AbortSignal.abort(reason) }), "the rejection"),
        (error) => error === reason,
      );
    },
  },
  {
    rule,
    title: "many waiters on two connections all wake for one result",
    async run(results, world) {
      const other = await anotherConnection(world, "resultStorage");
      const waiting = awaitedLater(
        Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? results : other).wait([{ taskId: "a", run: 1 }], long)),
      );
      await settleDown();
      await results.put([newResult("a")]);
      for (const found of await within(Promise.all(waiting), "every waiter's result")) assert.equal(found.length, 1);
    },
  },
  {
    rule,
    title: "no waiter is lost when waiting and putting race",
    async run(results, world) {
      const other = await anotherConnection(world, "resultStorage");
      for (let round = 0; round < 20; round += 1) {
        const waiting = awaitedLater(results.wait([{ taskId: `r-${round}`, run: 1 }], long));
        await other.put([newResult(`r-${round}`)]);
        assert.equal((await within(waiting, `the result of round ${round}`)).length, 1);
      }
    },
  },
];
