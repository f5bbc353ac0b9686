// The conformance kit on PostgreSQL: a schema for each namespace, races between real processes, transactions of the user's own.
import { testBackend } from "@omniq/conformance";
import { postgres } from "@omniq/postgres";
import { afterAll, describe, test } from "vitest";
import { dsn, inTransaction, Schemas } from "./server.ts";

const schemas = new Schemas();
afterAll(() => schemas.drop());

testBackend({
  describe,
  test,
  adapter: postgres,
  module: new URL("../dist/index.js", import.meta.url),
  options: (namespace) => ({ dsn, schema: schemas.of(namespace) }),
  transaction: (_namespace, body) => inTransaction(body),
  cleanUp: (namespace) => schemas.giveBack(namespace),
});
