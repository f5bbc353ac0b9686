// What the tests of this package share: the server, schemas of their own that are dropped again, transactions of the user's.
import type { DamageKind } from "@omniq/conformance";
import pg from "pg";

/** The runner starts a server or finds one; a test without one fails. */
export const dsn: string = process.env["OMNIQ_TEST_POSTGRES_URL"] ?? "postgresql://postgres@127.0.0.1:5432/postgres";

/** Runs `work` on a connection of its own. */
export async function connected<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: dsn });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

export function dropSchema(schema: string): Promise<void> {
  return connected(async (client) => {
    await client.query(`SET client_min_messages = warning; DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
  });
}

/** Schemas by namespace. To make one takes longer than most cases, so one that a case is done with is emptied and used again. */
export class Schemas {
  readonly #names = new Map<string, string>();
  readonly #free: string[] = [];
  readonly #made = new Set<string>();
  #client: Promise<pg.Client> | undefined;

  of(namespace: string): string {
    // Not all namespaces are of one run only, and the server is shared.
    const name = this.#names.get(namespace) ?? this.#free.pop() ?? `${namespace}_${process.pid}`;
    this.#names.set(namespace, name);
    this.#made.add(name);
    return name;
  }

  /** What no version of ours writes: a state, a status, numbers. */
  async damage(namespace: string, kind: DamageKind, id: string): Promise<void> {
    const change = {
      task: "tasks SET state = 99, attempt = -5, payload = 'x' WHERE id = $1",
      result: "past SET status = 'done', run = NULL WHERE task_id = $1",
      event: "events SET attempt = -1 WHERE id = $1",
      schedule: "schedules SET runs = -7, next_at = -1 WHERE id = $1",
    }[kind];
    const client = await this.#connect();
    await client.query(`UPDATE "${this.of(namespace)}".${change}`, [id]);
  }

  async giveBack(namespace: string): Promise<void> {
    const name = this.#names.get(namespace);
    if (name === undefined) return;
    this.#names.delete(namespace);
    const client = await this.#connect();
    const { rows } = await client.query<{ relname: string }>(
      "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname <> 'meta' AND relnamespace = to_regnamespace($1)",
      [`"${name}"`],
    );
    if (rows.length > 0) await client.query(rows.map(({ relname }) => `DELETE FROM "${name}".${relname}`).join(";"));
    this.#free.push(name);
  }

  async drop(): Promise<void> {
    for (const name of this.#made) await dropSchema(name);
    await (await this.#client)?.end();
  }

  /** One connection for all that is emptied. */
  #connect(): Promise<pg.Client> {
    return (this.#client ??= (async () => {
      const client = new pg.Client({ connectionString: dsn });
      await client.connect();
      return client;
    })());
  }
}

/** Runs `body` in a transaction of the user's; rolls back and rejects when it throws or rejects. */
export function inTransaction(body: (transaction: unknown) => unknown): Promise<unknown> {
  return connected(async (client) => {
    await client.query("BEGIN");
    try {
      const answer = await body(client);
      await client.query("COMMIT");
      return answer;
    } catch (error) {
      await client.query("ROLLBACK");
      throw error;
    }
  });
}
