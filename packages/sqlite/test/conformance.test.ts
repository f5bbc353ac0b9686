// The kit on SQLite: real processes, transactions of the user's own, and for an outage another holder of the write lock.
import { testBackend } from "@omniq/conformance";
import { sqlite as adapter } from "@omniq/sqlite";
import { afterAll, describe, test } from "vitest";
import { Files, inTransaction } from "./harness.ts";

const files = new Files();
afterAll(() => files.remove());

testBackend({
  ...{ describe, test, adapter },
  module: new URL("../dist/index.js", import.meta.url),
  options: (name) => ({ databasePath: files.path(name) }),
  transaction: (name, body) => inTransaction(files.path(name), body),
  outage: files.outage,
  damage: (name, kind, id) => files.damage(name, kind, id),
  cleanUp: (name) => files.delete(name),
});
