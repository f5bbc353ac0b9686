// The ordered log suite on the commit log: in a folder, and in memory by dates and by lists.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testOrderedLog } from "@omniq/conformance";
import { CommitLog, LocalStore, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { Replica } from "@omniq/replica";
import { afterAll, describe, expect, test } from "vitest";
import { task } from "./damaged.ts";

const root = mkdtempSync(join(tmpdir(), "omniq-log-"));
const shared = new Map<string, MemoryObjects>();
const objectsOf = (name: string): MemoryObjects => {
  const objects = shared.get(name) ?? new MemoryObjects();
  shared.set(name, objects);
  return objects;
};

const stores: LocalStore[] = [];
afterAll(async () => {
  for (const store of stores) await store.close();
  rmSync(root, { recursive: true, force: true });
});
function openFolder(name: string): CommitLog {
  const store = new LocalStore(join(root, name));
  stores.push(store);
  return new CommitLog(store);
}

describe("in a folder", () => {
  testOrderedLog({
    describe,
    test,
    ordering: "position",
    open: openFolder,
  });
});
describe("in memory, trusting what is young", () => {
  testOrderedLog({
    describe,
    test,
    ordering: "position",
    open: (name) => new CommitLog(new MemoryObjectStore(objectsOf(`young-${name}`))),
  });
});
describe("in memory, listing always, deleting at once", () => {
  testOrderedLog({
    describe,
    test,
    ordering: "position",
    open: (name) => new CommitLog(new MemoryObjectStore(objectsOf(`list-${name}`)), { deletionGraceMs: 1 }),
  });
});

test("where leases are held, a cancel that another process asks for is heard within a second, however seldom the log is polled else", async () => {
  const objects = new MemoryObjects();
  class Unwatched extends MemoryObjectStore {
    override watch: never = undefined as never;
  }
  const logs = [1, 2].map(() => new CommitLog(new Unwatched(objects), { pollMs: { busy: 1e9, idle: 1e9 } }));
  const [worker, other] = (await Promise.all(logs.map((log) => Replica.open(log)))) as [Replica, Replica];
  const [, leases] = await worker.execute([
    { verb: "enqueue", calls: [{ tasks: [task("a")] }] },
    { verb: "reserve", queues: ["q"], limit: 1, leaseMs: 60_000, worker: "w" },
  ]);
  expect(leases).toHaveLength(1);
  const heard = new Promise<void>((resolve) => void worker.subscribe(({ cancels }) => cancels.has("a") && resolve()));
  const asked = performance.now();
  expect(await other.execute([{ verb: "cancel", ids: ["a"] }])).toEqual([["cancelling"]]);
  await heard;
  expect(performance.now() - asked).toBeLessThan(2_000);
  for (const replica of [worker, other]) await replica.close();
  for (const log of logs) await log.close();
});
