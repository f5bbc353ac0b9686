// Tasks in the user's own transactions: with pg, Drizzle and Kysely, as the README shows.
import { OmniQ, defineTask } from "@omniq/core";
import { postgres } from "@omniq/postgres";
import { drizzle } from "drizzle-orm/node-postgres";
import { sql } from "drizzle-orm";
import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { connected, dropSchema, dsn } from "./server.ts";

const schema = `omniq_transactions_${process.pid}`;
const table = `${schema}.orders`;
const pool = new pg.Pool({ connectionString: dsn, max: 4 });
const mail = defineTask({ name: "mail", input: z.string() });
const backend = postgres({ dsn, schema });
const omniq = new OmniQ({ taskQueue: backend });

beforeAll(async () => {
  await backend.check();
  await connected((client) => client.query(`CREATE TABLE ${table} (id text)`));
});
afterAll(async () => {
  await omniq.close();
  await backend.close();
  await pool.end();
  await dropSchema(schema);
});

/** How many orders and tasks of this id there are. */
async function stored(id: string): Promise<readonly [number, number]> {
  const { rows } = await pool.query<{ orders: number; tasks: number }>(
    `SELECT (SELECT count(*) FROM ${table} WHERE id = $1)::int AS orders, (SELECT count(*) FROM ${schema}.tasks WHERE id = $1)::int AS tasks`,
    [id],
  );
  return [rows[0]?.orders ?? 0, rows[0]?.tasks ?? 0];
}
const stop = new Error("the order is taken back");

test("pg", async () => {
  const order = async (id: string, end: "COMMIT" | "ROLLBACK"): Promise<void> => {
    const client = await pool.connect();
    await client.query("BEGIN");
    await client.query(`INSERT INTO ${table} VALUES ($1)`, [id]);
    await omniq.enqueue(mail, id, { id, transaction: client });
    expect(await stored(id)).toEqual([0, 0]);
    await client.query(end);
    client.release();
  };
  await order("pg-1", "COMMIT");
  await order("pg-2", "ROLLBACK");
  expect(await stored("pg-1")).toEqual([1, 1]);
  expect(await stored("pg-2")).toEqual([0, 0]);
});

test("Drizzle", async () => {
  const order = async (id: string, fail: boolean): Promise<void> => {
    const client = await pool.connect();
    try {
      await drizzle(client).transaction(async (tx) => {
        await tx.execute(sql`INSERT INTO ${sql.raw(table)} VALUES (${id})`);
        await omniq.enqueue(mail, id, { id, transaction: client });
        if (fail) throw stop;
      });
    } finally {
      client.release();
    }
  };
  await order("drizzle-1", false);
  await expect(order("drizzle-2", true)).rejects.toBe(stop);
  expect(await stored("drizzle-1")).toEqual([1, 1]);
  expect(await stored("drizzle-2")).toEqual([0, 0]);
});

test("Kysely", async () => {
  const db = new Kysely<Record<string, never>>({ dialect: new PostgresDialect({ pool }) });
  const order = (id: string, fail: boolean): Promise<void> =>
    db.transaction().execute(async (trx) => {
      await trx.executeQuery(CompiledQuery.raw(`INSERT INTO ${table} VALUES ($1)`, [id]));
      const transaction = {
        query: (text: string, values: unknown[]) => trx.executeQuery(CompiledQuery.raw(text, values)),
      };
      await omniq.enqueue(mail, id, { id, transaction });
      if (fail) throw stop;
    });
  await order("kysely-1", false);
  await expect(order("kysely-2", true)).rejects.toBe(stop);
  expect(await stored("kysely-1")).toEqual([1, 1]);
  expect(await stored("kysely-2")).toEqual([0, 0]);
});

test("an open transaction keeps no worker waiting, whatever was enqueued in it", async () => {
  const client = await pool.connect();
  const ran: string[] = [];
  const work = defineTask({ name: "work", input: z.string(), run: (id) => void ran.push(id) });
  await client.query("BEGIN");
  await omniq.enqueue(work, "parent", { id: "parent" });
  await omniq.enqueue(work, "held", {
    id: "held",
    deduplicate: { key: "k" },
    group: { key: "g" },
    transaction: client,
  });
  await omniq.enqueue(work, "other", { id: "other", group: { key: "g" } });
  await omniq.worker({ tasks: [work] }).drain();
  expect(ran.toSorted()).toEqual(["other", "parent"]);
  await client.query("COMMIT");
  client.release();
  await omniq.worker({ tasks: [work] }).drain();
  expect(ran).toContain("held");
});

test("what is no transaction is refused", async () => {
  for (const transaction of [{}, null, "BEGIN"]) {
    await expect(omniq.enqueue(mail, "x", { transaction: transaction as never })).rejects.toMatchObject({
      code: "OMNIQ_INVALID_OPTION",
    });
  }
});
