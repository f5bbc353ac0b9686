// The conformance kit on SQLite: a file for each namespace, races between real processes, transactions of the user's own.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testBackend } from "@omniq/conformance";
import { sqlite } from "@omniq/sqlite";
import { afterAll, describe, test } from "vitest";
import { inTransaction } from "./harness.ts";

const folder = mkdtempSync(join(tmpdir(), "omniq-conformance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const databasePath = (namespace: string): string => join(folder, `${namespace}.db`);
const module = new URL("../dist/index.js", import.meta.url);
const transaction = (namespace: string, body: (transaction: unknown) => unknown) =>
  inTransaction(databasePath(namespace), body);

testBackend({
  describe,
  test,
  adapter: sqlite,
  module,
  options: (name) => ({ databasePath: databasePath(name) }),
  transaction,
});
