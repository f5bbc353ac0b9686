// Options: the forms of URLs, read by the adapter and by core's configuration; which better-sqlite3 is taken.
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OmniQ } from "@omniq/core";
import { sqlite } from "@omniq/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Folder } from "./harness.ts";

let folder: Folder;
beforeEach(() => (folder = new Folder()));
afterEach(() => folder.remove());

const refused = expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID" });

test("URLs", () => {
  const path = (url: string): unknown => sqlite.fromUrl?.(url).databasePath;
  expect(
    [
      "sqlite:///var/data/q.db",
      "sqlite:/var/q.db",
      "sqlite:relative.db",
      "sqlite:data/q.db",
      "sqlite:./q.db",
      "sqlite:../q.db",
      "sqlite://./q%20q.db",
      "sqlite3:q.db",
    ].map(path),
  ).toEqual(["/var/data/q.db", "/var/q.db", "relative.db", "data/q.db", "./q.db", "../q.db", "./q q.db", "q.db"]);
  expect(sqlite.fromUrl?.("sqlite:data/q.db?synchronous=normal&prefix=a&eventTtlMs=5")).toEqual({
    ...{ databasePath: "data/q.db", synchronous: "normal", prefix: "a", eventTtlMs: 5 },
  });
  for (const url of [
    "sqlite:",
    "sqlite://",
    "sqlite://host/q.db",
    "sqlite://user:hunter2@host/q.db",
    "sqlite:q.db?x=1",
    "sqlite:%zz",
  ])
    expect(() => sqlite.fromUrl?.(url), url).toThrow(refused);
  expect(() => sqlite.fromUrl?.("sqlite://user:hunter2@host/q.db")).toThrow(/^(?!.*hunter2)/u);
});

test.each(["taskQueue", "OMNIQ_TASK_QUEUE", "OMNIQ_TASK_QUEUE_URL", "file"])(
  "sqlite:relative.db in %s counts from the configuration's folder",
  async (where) => {
    const home = join(folder.path, "home");
    mkdirSync(home);
    const file = join(home, "omniq.json");
    writeFileSync(file, JSON.stringify(where === "file" ? { task_queue: "sqlite:data/relative.db" } : {}));
    const omniq = await OmniQ.load({
      file,
      adapters: [sqlite],
      environment: where.startsWith("OMNIQ") ? { [where]: "sqlite:data/relative.db" } : {},
      ...(where === "taskQueue" ? { config: { taskQueue: "sqlite:data/relative.db" } } : {}),
    });
    await omniq.queue("q").counts();
    await omniq.close();
    expect(existsSync(join(home, "data", "relative.db"))).toBe(true);
  },
);

test("a backend that is shown shows where its file is, and no more", () => {
  const backend = folder.open();
  expect(Object.keys(backend.remote?.options as object).sort()).toEqual([
    ...["databasePath", "eventTtlMs", "prefix", "synchronous"],
  ]);
});
