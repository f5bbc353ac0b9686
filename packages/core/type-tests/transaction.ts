// Tasks that are enqueued in the user's own transaction: there when it commits, never there when it rolls back.
import assert from "node:assert/strict";
import { OmniQ, defineTask, typeOnly, type TaskHandle } from "@omniq/core";
import { sqlite, sqliteDriver } from "@omniq/sqlite";

const confirm = defineTask({
  name: "confirm",
  input: typeOnly<{ order: number }>(),
  run: ({ order }) => `confirmed ${order}`,
});

const Database = sqliteDriver();
const database = new Database("./shop.db");
database.pragma("journal_mode = WAL");
database.exec("CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER)");
await using omniq = new OmniQ({ taskQueue: sqlite({ databasePath: "./shop.db" }) });

function transaction<T>(body: () => T): T {
  database.exec("BEGIN IMMEDIATE");
  try {
    const answer = body();
    database.exec("COMMIT");
    return answer;
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}
const place = (total: number): TaskHandle<string> =>
  transaction(() => {
    const order = Number(database.prepare("INSERT INTO orders (total) VALUES (?)").run(total).lastInsertRowid);
    const handle = omniq.enqueueSync(confirm.with({ order }), { transaction: database });
    if (total < 0) throw new Error("A total must not be negative");
    return handle;
  });
const handle = place(100);
assert.throws(() => place(-1), /negative/);

const worker = omniq.worker({ tasks: [confirm] });
assert.equal((await worker.drain()).completed, 1);
assert.equal(await handle.result(), "confirmed 1");
assert.equal(database.prepare("SELECT count(*) AS n FROM orders").get().n, 1);
database.close();
