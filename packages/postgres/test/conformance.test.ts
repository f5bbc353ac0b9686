// The conformance kit on PostgreSQL: a schema for each namespace, races between real processes, transactions, a proxy that cuts.
import { testBackend } from "@omniq/conformance";
import { postgres } from "@omniq/postgres";
import { afterAll, describe, test } from "vitest";
import { Proxy } from "./proxy.ts";
import { dsn, inTransaction, Schemas } from "./server.ts";

// Where the server's URL leads to PgBouncer in transaction mode.
const pooled = process.env["OMNIQ_TEST_POSTGRES_POOLED"] === "1" ? { listen: false } : {};
const [schemas, outage] = [new Schemas(), new Proxy(dsn)];
await outage.start();
afterAll(() => Promise.all([schemas.drop(), outage.stop()]));

testBackend({
  describe,
  test,
  adapter: postgres,
  module: new URL("../dist/index.js", import.meta.url),
  options: (namespace) => ({ dsn: outage.through(dsn), schema: schemas.of(namespace), ...pooled }),
  transaction: (_namespace, body) => inTransaction(body),
  outage,
  cleanUp: (namespace) => schemas.giveBack(namespace),
});
