// Plans: what a connection learned while a table was small still goes by the right index when it is not.
import { setTimeout as sleep } from "node:timers/promises";
import { defineTask, OmniQ } from "@omniq/core";
import { expect, test } from "vitest";
import { newSchema, open } from "./harness.ts";
import { connected, dsn } from "./server.ts";

const trips = 6_000;
const callers = 100;

/** How many rows of the results' table were read so far, and entries of its indexes. */
function reads(schema: string): Promise<number> {
  return connected(async (client) => {
    const { rows } = await client.query(
      `SELECT (SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'past')
         + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = $1 AND relname = 'past') AS n`,
      [schema],
    );
    return Number(rows[0].n);
  });
}

test("a hundred callers that wait for results do not read all results again and again, in a schema that was empty when they began", async () => {
  const schema = newSchema();
  const omniq = new OmniQ({ taskQueue: open({ dsn, schema }) });
  const double = defineTask({ name: "double", run: (input: number) => input * 2 });
  const worker = omniq.worker({ tasks: [double], concurrency: callers });
  await worker.start();
  let next = 0;
  const caller = async (): Promise<void> => {
    for (let input = next++; input < trips; input = next++)
      expect(await (await omniq.enqueue(double, input)).result()).toBe(2 * input);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  await omniq.close();
  // What a connection read is counted when it is closed at the latest.
  await sleep(500);
  expect((await reads(schema)) / trips).toBeLessThan(20);
});
