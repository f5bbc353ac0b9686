// A file that version 1.0.0 wrote: it opens, and goes on as it was.
import { readFileSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { sqliteDriver } from "@omniq/sqlite";
import { expect, test } from "vitest";
import { complete, enqueue, Folder, ids, reserve, task } from "./harness.ts";

test("a file of the first version is brought up to date, with all that it holds", async () => {
  const folder = new Folder();
  writeFileSync(folder.file, gunzipSync(readFileSync(new URL("fixtures/version-1.db.gz", import.meta.url))));
  const raw = new (sqliteDriver())(folder.file);
  const { token } = raw.prepare("SELECT token FROM omniq_tasks WHERE id = 'leased'").get() as { token: string };
  const backend = folder.open();
  const queue = backend.taskQueue();
  expect((await queue.list({}, {})).items.map(({ id, state }) => [id, state])).toEqual([
    ["dead", "failed"],
    ["undecided", "failed"],
    ["leased", "active"],
    ["child", "blocked"],
    ["ready", "ready"],
    ["held", "ready"],
    ["later", "scheduled"],
  ]);
  expect(raw.prepare("SELECT value FROM omniq_meta WHERE key = 'version'").get()).toEqual({ value: "2" });
  raw.close();
  const [result] = await backend.resultStorage().get(["done"]);
  expect(result).toMatchObject({ status: "completed", value: "old" });
  expect((await backend.eventStorage().query({}, {})).items.map(({ id }) => id)).toEqual(["e"]);
  expect((await backend.scheduleStorage().due(5)).schedules).toMatchObject([{ id: "s", runs: 2 }]);
  // A holder that is over holds its key no more, though its outcome was not recorded.
  expect(await enqueue(queue, task({ id: "new", deduplicate: { key: "k", mode: "keep" } }))).toEqual(["enqueued"]);
  expect(ids(await queue.unrecorded(5))).toEqual(["undecided"]);
  expect(ids(await reserve(queue))).toEqual(["ready", "new"]);
  const lease = { taskId: "leased", queue: "q", token, run: 1, attempt: 1 };
  expect(await queue.extend([lease], 30_000)).toMatchObject([{ state: "cancelling" }]);
  expect(await queue.settle([{ ...lease, outcome: "completed", storeResult: true, value: "late" }])).toEqual([
    "settled",
  ]);
  const rest = await reserve(queue);
  expect(ids(rest).sort()).toEqual(["child", "held"]);
  expect(await queue.settle(rest.map((one) => complete(one)))).toEqual(["settled", "settled"]);
  expect(await queue.retry(["dead", "undecided"])).toEqual(["retried", "busy"]);
  expect(await queue.remove(["dead", "done"])).toEqual(["removed", "freed"]);
  await folder.remove();
});
