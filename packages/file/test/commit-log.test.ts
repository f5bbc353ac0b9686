// The ordered log suite on the commit log: in a folder, and in memory by dates and by lists.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testOrderedLog } from "@omniq/conformance";
import { CommitLog, LocalStore, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { afterAll, describe, test } from "vitest";

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
