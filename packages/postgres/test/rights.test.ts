// The two roles of the README: one makes the tables, the other does all else, and neither can do more than it must.
import { readFile } from "node:fs/promises";
import { migrate } from "@omniq/postgres";
import { expect, test } from "vitest";
import { newSchema, open, useAll } from "./harness.ts";
import { connected, dsn } from "./server.ts";

test("with the commands of the README one role migrates, the other uses every verb, and a third can do nothing", async () => {
  const schema = newSchema();
  const [owner, application, stranger] = ["owner", "application", "stranger"].map((name) => `${schema}_${name}`) as [
    string,
    string,
    string,
  ];
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const commands = /## Rights\n.*?```sql\n(.*?)```/su.exec(readme)?.[1] ?? "";
  expect(commands).toContain("GRANT");
  const as = (role: string, password: string): string => {
    const url = new URL(dsn);
    [url.username, url.password] = [role, password];
    return url.href;
  };
  await connected(async (client) => {
    const own = commands
      .replace(/\bomniq_owner\b/gu, owner)
      .replace(/\bomniq_application\b/gu, application)
      .replace(/\bomniq\b/gu, schema);
    await client.query(own);
    await client.query(`CREATE ROLE ${stranger} LOGIN PASSWORD 'x'`);
  });
  try {
    await migrate({ dsn: as(owner, "change me"), schema });
    const backend = open({ dsn: as(application, "change me too"), schema, migrate: false });
    await useAll(backend);
    await backend.close();
    await connected(async (client) => {
      for (const role of [application, stranger]) {
        await client.query(`SET ROLE ${role}`);
        await expect(client.query(`CREATE TABLE ${schema}.x ()`)).rejects.toMatchObject({ code: "42501" });
        await expect(client.query(`DROP TABLE ${schema}.tasks`)).rejects.toMatchObject({ code: "42501" });
        await client.query("RESET ROLE");
      }
      await client.query(`GRANT USAGE ON SCHEMA ${schema} TO ${stranger}; SET ROLE ${stranger}`);
      for (const text of [`SELECT 1 FROM ${schema}.tasks`, `SELECT ${schema}.set_paused('q', true)`])
        await expect(client.query(text)).rejects.toMatchObject({ code: "42501" });
    });
  } finally {
    await connected(async (client) => {
      await client.query(`DROP SCHEMA ${schema} CASCADE`);
      for (const role of [owner, application, stranger]) await client.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    });
  }
});
