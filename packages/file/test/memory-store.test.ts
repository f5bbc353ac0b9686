// The object store suite on the store in memory.
import { testObjectStore } from "@omniq/conformance";
import { MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { describe, test } from "vitest";

const shared = new Map<string, MemoryObjects>();
const objectsOf = (name: string): MemoryObjects => {
  const objects = shared.get(name) ?? new MemoryObjects();
  shared.set(name, objects);
  return objects;
};

testObjectStore({ describe, test, open: (name) => new MemoryObjectStore(objectsOf(name)) });
