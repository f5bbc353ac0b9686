// The conformance kit on PostgreSQL in parts that run side by side: a schema for each namespace, real processes, a proxy that cuts.
import { testBackend } from "@omniq/conformance";
import { postgres } from "@omniq/postgres";
import { afterAll, describe, test } from "vitest";
import { Proxy } from "./proxy.ts";
import { dsn, inTransaction, Schemas } from "./server.ts";

/** Where the server's URL leads to PgBouncer in transaction mode. */
const pooled = process.env["OMNIQ_TEST_POSTGRES_POOLED"] === "1" ? { listen: false } : {};

/** Registers every `of`-th test of the kit, beginning with number `part` from 0: much of the kit's time is waiting. */
export async function testPart(part: number, of: number): Promise<void> {
  const [schemas, outage] = [new Schemas(), new Proxy(dsn)];
  await outage.start();
  afterAll(() => Promise.all([schemas.drop(), outage.stop()]));
  let number = 0;
  testBackend({
    describe,
    test: (name: string, body: () => Promise<void>, timeoutMs?: number) => {
      if (number++ % of === part) test(name, body, timeoutMs);
    },
    adapter: postgres,
    module: new URL("../dist/index.js", import.meta.url),
    options: (namespace) => ({ dsn: outage.through(dsn), schema: schemas.of(namespace), ...pooled }),
    transaction: (_namespace, body) => inTransaction(body),
    outage,
    damage: (namespace, kind, id) => schemas.damage(namespace, kind, id),
    cleanUp: (namespace) => schemas.giveBack(namespace),
  });
}
