// Backends without a server: each run gets an empty folder on the disk (SQLite, files), or nothing (memory).
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sqliteDriver } from "@omniq/sqlite";
import type { BackendName, Place } from "../frame/contestant.ts";
import { cores, pin } from "../frame/cores.ts";
import type { Host } from "./host.ts";
import { newPrefix } from "./own-server.ts";

export async function localHost(backend: BackendName): Promise<Host> {
  pin(process.pid, cores.client);
  return {
    server: backend === "sqlite" ? `SQLite ${sqliteVersion()}, in the process` : "none, in the process",
    durability: backend === "memory" ? "none: everything is gone with the process" : "as each contestant says",
    makePlace: async () => ({ url: "", folder: await mkdtemp(join(tmpdir(), "omniq-bench-")), prefix: newPrefix() }),
    removePlace: async ({ folder }) => await rm(folder, { recursive: true, force: true }),
    stop: async () => {},
  };
}

function sqliteVersion(): string {
  const database = new (sqliteDriver())(":memory:");
  const { version } = database.prepare("SELECT sqlite_version() AS version").get() as { version: string };
  database.close();
  return version;
}

/** What the run's folder takes; `undefined` when nothing is there. */
export async function storedBytesOf({ folder }: Place): Promise<number | undefined> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  if (files.length === 0) return undefined;
  // SQLite's log holds pages on their way into the database; once they are there, it takes nothing.
  for (const { parentPath, name } of files) if (name.endsWith("-wal")) writeBack(join(parentPath, name.slice(0, -4)));
  // What goes meanwhile takes nothing.
  const sizeOf = (path: string): Promise<number> =>
    stat(path).then(
      ({ size }) => size,
      () => 0,
    );
  const sizes = await Promise.all(files.map((file) => sizeOf(join(file.parentPath, file.name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function writeBack(path: string): void {
  const database = new (sqliteDriver())(path);
  database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
  database.close();
}
