// The backends that tests of the worker run on: memory and SQLite always, others as OMNIQ_WORKER_BACKENDS names them, on their usual local servers.
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";
import type { Backend } from "@omniq/core";

const more = (process.env["OMNIQ_WORKER_BACKENDS"] ?? "").split(",").filter((name) => name !== "");
export const backendNames: readonly string[] = ["memory", "sqlite", ...more];

const folders: string[] = [];
process.on("exit", () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "omniq-worker-"));
  folders.push(folder);
  return folder;
}

/** Makes backends that share one new, empty store: each call is another process's, as it were. */
export async function storeOf(name: string): Promise<() => Backend> {
  const id = randomUUID().replaceAll("-", "").slice(0, 12);
  if (name === "memory") return () => memory({ name: id });
  if (name === "sqlite") {
    const databasePath = join(temporaryFolder(), "queue.db");
    return () => sqlite({ databasePath });
  }
  const options: Readonly<Record<string, object>> = {
    postgres: { dsn: "postgresql://postgres@127.0.0.1:5432/postgres", schema: `worker_${id}` },
    redis: { url: "redis://127.0.0.1:6379", prefix: `worker-${id}` },
    nats: { servers: "nats://127.0.0.1:4222", prefix: `worker-${id}` },
    file: { baseDir: join(temporaryFolder(), "store") },
  };
  const module = (await import(`../../${name}/src/index.ts`)) as Record<string, (options: object) => Backend>;
  return () => (module[name] as (options: object) => Backend)(options[name] as object);
}
