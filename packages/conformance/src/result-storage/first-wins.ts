// Cases of `result-first-wins`: put, get, delete and list.
import assert from "node:assert/strict";
import type { NewResult, ResultStatus, ResultStorage } from "@omniq/core";
import { anotherConnection, reopened, unlessReopens } from "../conduct/connections.ts";
import { rejectsWith } from "../conduct/waiting.ts";
import type { Case } from "../suite.ts";
import { ids, listAll, newResult } from "./new-result.ts";

const rule = "result-first-wins";

export const firstWinsCases: readonly Case<ResultStorage>[] = [
  {
    rule,
    title: "put answers with what it stored, and get finds it",
    async run(results) {
      const [stored] = await results.put([
        newResult("a", { run: 2, attempt: 3, name: "name", queue: "queue", finishedAt: Date.now() }),
      ]);
      assert.ok(stored);
      assert.equal(stored.taskId, "a");
      assert.equal(stored.run, 2);
      assert.equal(stored.attempt, 3);
      assert.equal(stored.name, "name");
      assert.equal(stored.queue, "queue");
      assert.equal(stored.status, "completed");
      assert.equal(stored.value, "value of a");
      assert.equal(stored.error, undefined);
      assert.deepEqual((await results.get(["a"]))[0], stored);
    },
  },
  {
    rule,
    title: "of two results of one run the first stands, and both puts are answered with it",
    async run(results) {
      await results.put([newResult("a", { value: "first" })]);
      const [stands] = await results.put([newResult("a", { value: "second", status: "failed", error: "late" })]);
      assert.equal(stands?.value, "first");
      assert.equal(stands?.status, "completed");
      assert.deepEqual((await results.get(["a"]))[0], stands);
    },
  },
  {
    rule,
    title: "a result of a higher run takes the place of a lower one, all fields",
    async run(results) {
      await results.put([newResult("a", { value: undefined, status: "failed", error: "no" })]);
      const [stands] = await results.put([newResult("a", { run: 2, value: "yes" })]);
      assert.equal(stands?.run, 2);
      assert.equal(stands?.value, "yes");
      assert.equal(stands?.error, undefined);
      assert.equal((await results.get(["a"]))[0]?.status, "completed");
    },
  },
  {
    rule,
    title: "a result of a lower run changes nothing and is answered with the higher one",
    async run(results) {
      await results.put([newResult("a", { run: 3, value: "third" })]);
      const [stands] = await results.put([newResult("a", { run: 2, value: "second" })]);
      assert.equal(stands?.run, 3);
      assert.equal((await results.get(["a"]))[0]?.value, "third");
    },
  },
  {
    rule,
    title: "two results of one task in one put: the rule holds inside the batch",
    async run(results) {
      const answers = await results.put([
        newResult("a", { value: "1" }),
        newResult("a", { value: "2" }),
        newResult("a", { run: 2, value: "3" }),
        newResult("a", { value: "4" }),
      ]);
      assert.equal(answers.length, 4);
      assert.equal((await results.get(["a"]))[0]?.value, "3");
      for (const answer of answers) assert.notEqual(answer.value, "2", "the second result of run 1 never stood");
    },
  },
  {
    rule,
    title: "a batch is answered in the order asked, whatever stands",
    async run(results) {
      await results.put([newResult("b", { value: "old" })]);
      const answers = await results.put([newResult("c"), newResult("b"), newResult("a")]);
      assert.deepEqual(
        answers.map((answer) => answer.taskId),
        ["c", "b", "a"],
      );
      assert.equal(answers[1]?.value, "old");
    },
  },
  {
    rule,
    title: "of puts that race on two connections one wins, and all are told the same",
    async run(results, world) {
      const other = await anotherConnection(world, "resultStorage");
      for (let round = 0; round < 10; round += 1) {
        const answers = await Promise.all(
          Array.from({ length: 8 }, (_, i) =>
            (i % 2 === 0 ? results : other).put([newResult(`race-${round}`, { value: `${i}` })]),
          ),
        );
        const values = new Set(answers.map((answer) => answer[0]?.value));
        assert.equal(values.size, 1, `round ${round}: ${values.size} different results were said to stand`);
        assert.ok(values.has((await results.get([`race-${round}`]))[0]?.value));
      }
    },
  },
  {
    rule,
    title: "get answers in the order asked, with undefined for what is not there",
    async run(results) {
      await results.put([newResult("a"), newResult("b")]);
      const answers = await results.get(["b", "nothing", "a", "b"]);
      assert.deepEqual(
        answers.map((answer) => answer?.taskId),
        ["b", undefined, "a", "b"],
      );
    },
  },
  {
    rule,
    title: "every status, with value and error present, empty or absent, comes back as it was",
    async run(results) {
      const statuses: readonly ResultStatus[] = ["completed", "failed", "cancelled", "expired"];
      const given: NewResult[] = statuses.flatMap((status) =>
        [undefined, "", "text"].map((text, i) => newResult(`${status}-${i}`, { status, value: text, error: text })),
      );
      await results.put(given);
      const stored = await results.get(given.map((result) => result.taskId));
      given.forEach((result, i) => {
        assert.equal(stored[i]?.status, result.status, result.taskId);
        assert.equal(stored[i]?.value, result.value, `value of ${result.taskId}`);
        assert.equal(stored[i]?.error, result.error, `error of ${result.taskId}`);
      });
    },
  },
  {
    rule,
    title: "finishedAt is kept where given and else comes from the store's clock",
    async run(results, world) {
      const before = world.clock.now();
      const [own, given] = await results.put([newResult("own"), newResult("given", { finishedAt: before - 1_234 })]);
      const after = world.clock.now();
      assert.equal(given?.finishedAt, before - 1_234);
      assert.ok(own !== undefined && Number.isSafeInteger(own.finishedAt));
      assert.ok(
        own.finishedAt >= before - 2_000 && own.finishedAt <= after + 2_000,
        "finishedAt is far from the store's clock",
      );
    },
  },
  {
    rule,
    title: "a deleted result is gone and its run can be stored again; deleting nothing is nothing",
    async run(results) {
      await results.put([newResult("a", { run: 2 }), newResult("b")]);
      await results.delete(["a", "nothing"]);
      await results.delete(["a"]);
      assert.deepEqual(
        (await results.get(["a", "b"])).map((result) => result?.taskId),
        [undefined, "b"],
      );
      const [again] = await results.put([newResult("a", { run: 1, value: "again" })]);
      assert.equal(again?.value, "again");
    },
  },
  {
    rule,
    title: "empty batches are answered empty",
    async run(results) {
      assert.deepEqual(await results.put([]), []);
      assert.deepEqual(await results.get([]), []);
      await results.delete([]);
      assert.deepEqual((await results.list({}, {})).items, []);
    },
  },
  {
    rule,
    title: "list filters by queue, name and status, alone and together",
    async run(results) {
      await results.put([
        newResult("1", { queue: "x", name: "n", status: "completed" }),
        newResult("2", { queue: "x", name: "m", status: "failed" }),
        newResult("3", { queue: "y", name: "n", status: "failed" }),
        newResult("4", { queue: "y", name: "n", status: "cancelled" }),
      ]);
      assert.deepEqual(ids(await listAll(results, {}, 10)), ["1", "2", "3", "4"]);
      assert.deepEqual(ids(await listAll(results, { queue: "x" }, 10)), ["1", "2"]);
      assert.deepEqual(ids(await listAll(results, { name: "n" }, 10)), ["1", "3", "4"]);
      assert.deepEqual(ids(await listAll(results, { status: "failed" }, 10)), ["2", "3"]);
      assert.deepEqual(ids(await listAll(results, { queue: "y", name: "n", status: "failed" }, 10)), ["3"]);
      assert.deepEqual(ids(await listAll(results, { queue: "x", status: "cancelled" }, 10)), []);
    },
  },
  {
    rule,
    title: "pages hold at most the limit and together every result once, in the same order each time",
    async run(results) {
      const all = Array.from({ length: 23 }, (_, i) => newResult(`p-${i}`, { queue: i % 2 === 0 ? "even" : "odd" }));
      await results.put(all);
      assert.ok((await results.list({}, { limit: 5 })).items.length <= 5);
      const once = await listAll(results, {}, 5);
      assert.deepEqual(ids(once), all.map((result) => result.taskId).sort());
      assert.deepEqual(
        (await listAll(results, {}, 1)).map((result) => result.taskId),
        once.map((result) => result.taskId),
      );
      assert.equal((await listAll(results, { queue: "even" }, 5)).length, 12);
    },
  },
  {
    rule,
    title: "pages are stable: what is put or deleted between pages makes nothing else appear twice or not at all",
    async run(results) {
      await results.put(Array.from({ length: 12 }, (_, i) => newResult(`s-${i}`)));
      const first = await results.list({}, { limit: 4 });
      assert.ok(first.next !== undefined);
      const seen = first.items.map((result) => result.taskId);
      await results.delete(seen.slice(0, 2));
      await results.put([newResult("a-new"), newResult("z-new")]);
      let cursor: string | undefined = first.next;
      while (cursor !== undefined) {
        const page = await results.list({}, { limit: 4, cursor });
        seen.push(...page.items.map((result) => result.taskId));
        cursor = page.next;
      }
      assert.equal(new Set(seen).size, seen.length, "a result was listed twice");
      for (let i = 0; i < 12; i += 1) assert.ok(seen.includes(`s-${i}`), `s-${i} was missed`);
    },
  },
  {
    rule,
    title: "a page holds 100 by default, and the last one has no next",
    async run(results) {
      await results.put(
        Array.from({ length: Math.min(101, results.capabilities.maxBatch) }, (_, i) => newResult(`d-${i}`)),
      );
      if (results.capabilities.maxBatch < 101)
        await results.put([...Array(101).keys()].slice(results.capabilities.maxBatch).map((i) => newResult(`d-${i}`)));
      const first = await results.list({}, {});
      assert.equal(first.items.length, 100);
      assert.ok(first.next !== undefined);
      const last = await results.list({}, { cursor: first.next });
      assert.equal(last.items.length, 1);
      assert.equal(last.next, undefined);
    },
  },
  {
    rule,
    title: "a cursor that no list gave is refused",
    async run(results) {
      await results.put([newResult("a")]);
      await rejectsWith(
        "OMNIQ_INVALID_OPTION",
        () => results.list({}, { cursor: "no cursor of this list" }),
        "list with a foreign cursor",
      );
    },
  },
  {
    rule,
    title: "a cursor of a list with another filter is refused",
    async run(results) {
      await results.put([newResult("a"), newResult("b"), newResult("c")]);
      const { next } = await results.list({}, { limit: 1 });
      assert.ok(next !== undefined);
      for (const filter of [{ queue: "q" }, { name: "q" }, { status: "completed" as const }])
        await rejectsWith(
          "OMNIQ_INVALID_OPTION",
          () => results.list(filter, { cursor: next }),
          "another filter's cursor",
        );
      assert.equal((await results.list({}, { cursor: next })).items.length, 2);
    },
  },
  {
    rule,
    title: "the result that stands still stands after the death of every process",
    unless: unlessReopens,
    async run(results, world) {
      const [stored] = await results.put([newResult("a", { value: "kept", ttlMs: null })]);
      const again = await reopened(world, "resultStorage");
      assert.deepEqual((await again.get(["a"]))[0], stored);
      assert.equal((await again.put([newResult("a", { value: "late" })]))[0]?.value, "kept");
    },
  },
];
