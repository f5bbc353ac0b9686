// A PostgreSQL of the bench's own, with a database for each run.
import pg from "pg";
import type { Place } from "../frame/contestant.ts";
import type { Host } from "./host.ts";
import { newPrefix, startOwnServer } from "./own-server.ts";

export async function postgresHost(): Promise<Host> {
  const server = await startOwnServer("postgres");
  const client = new pg.Client({ connectionString: server.url });
  await client.connect();
  const setting = async (name: string): Promise<string> =>
    (await client.query<Record<string, string>>(`SHOW ${name}`)).rows[0]?.[name] ?? "";
  const version = (await setting("server_version")).split(" ")[0];
  const durable: string[] = [];
  for (const name of ["fsync", "synchronous_commit", "full_page_writes"])
    durable.push(`${name} ${await setting(name)}`);
  return {
    server: `PostgreSQL ${version}, shared_buffers ${await setting("shared_buffers")}`,
    durability: durable.join(", "),
    async makePlace() {
      const prefix = newPrefix();
      await client.query(`CREATE DATABASE ${prefix}`);
      const url = new URL(server.url);
      url.pathname = `/${prefix}`;
      return { url: url.href, folder: "", prefix, serverPid: server.pid };
    },
    async removePlace({ prefix }) {
      await client.query(`DROP DATABASE ${prefix} WITH (FORCE)`);
      // Else the next run would pay for writing out what this one left.
      await client.query("CHECKPOINT");
    },
    async stop() {
      await client.end();
      await server.stop();
    },
  };
}

/** The size of the run's database. */
export async function storedBytesOf({ url }: Place): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ bytes: string }>("SELECT pg_database_size(current_database()) AS bytes");
  await client.end();
  return Number(rows[0]?.bytes);
}
