// The file: who may read it, what becomes of it under running workers, what a lock, a full or failing disk, and a damaged file do.
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { isOmniQError } from "@omniq/core";
import { sqliteDriver, type SqliteDatabaseLike } from "@omniq/sqlite";
import { afterEach, beforeEach, expect, test } from "vitest";
import { complete, enqueue, Folder, ids, reserve, task } from "./harness.ts";

let folder: Folder;
beforeEach(() => (folder = new Folder()));
afterEach(() => folder.remove());

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

test("what is made is its owner's alone, also under an umask that lets others read; what is there keeps its rights", async () => {
  const before = process.umask(0);
  try {
    const made = join(folder.path, "one", "two");
    const file = join(made, "q.db");
    const queue = folder.open({ databasePath: file }).taskQueue();
    const waiting = reserve(queue, 1, { waitMs: 5_000 });
    await enqueue(queue, task());
    await waiting;
    expect([join(folder.path, "one"), made].map(mode)).toEqual(["700", "700"]);
    expect([file, `${file}-wal`, `${file}-shm`, `${file}-omniq-wake`].map(mode)).toEqual(["600", "600", "600", "600"]);
    writeFileSync(folder.file, "", { mode: 0o660 });
    await enqueue(folder.open().taskQueue(), task());
    expect([folder.file, `${folder.file}-wal`, `${folder.file}-omniq-wake`].map(mode)).toEqual(["660", "660", "660"]);
  } finally {
    process.umask(before);
  }
});

test("while another holds the write lock: an abort is heard at once, close ends within two seconds, what waited is refused", async () => {
  const backend = folder.open();
  const queue = backend.taskQueue();
  await enqueue(queue, task());
  const other = new (sqliteDriver())(folder.file);
  other.exec("BEGIN IMMEDIATE");
  const abort = new AbortController();
  const aborted = queue.enqueue([{ tasks: [task()] }], { signal: abort.signal });
  const reserved = reserve(queue, 1, { waitMs: 60_000 });
  const refused = enqueue(queue, task({ id: "refused" }));
  await sleep(50);
  const began = performance.now();
  abort.abort(new Error("enough"));
  await expect(aborted).rejects.toThrow("enough");
  expect(performance.now() - began).toBeLessThan(1_000);
  const settled = Promise.allSettled([reserved, refused]);
  await backend.close();
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(await settled).toMatchObject([
    { status: "fulfilled", value: [] },
    { status: "rejected", reason: { code: "OMNIQ_CLOSED" } },
  ]);
  other.exec("ROLLBACK");
  expect(other.prepare("SELECT id FROM omniq_tasks WHERE id = 'refused'").all()).toEqual([]);
  other.close();
});

test("a close while the file can't even be opened ends, too", async () => {
  const other = new (sqliteDriver())(folder.file);
  other.exec("BEGIN EXCLUSIVE");
  const backend = folder.open();
  const calls = Promise.allSettled([backend.taskQueue().counts(), enqueue(backend.taskQueue(), task())]);
  await sleep(30);
  const began = performance.now();
  await backend.close();
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(await calls).toMatchObject([{ reason: { code: "OMNIQ_CLOSED" } }, { reason: { code: "OMNIQ_CLOSED" } }]);
  other.close();
});

test.each(["moved", "deleted", "replaced"])(
  "a database that is %s under running workers is not used any more",
  async (what) => {
    const backend = folder.open();
    const queue = backend.taskQueue();
    await enqueue(queue, task({ id: "a" }));
    const [lease] = await reserve(queue);
    const waiting = expect(reserve(queue, 1, { waitMs: 30_000 })).rejects;
    const elsewhere = join(folder.path, "elsewhere.db");
    const raw = new (sqliteDriver())(folder.file);
    raw.pragma("wal_checkpoint(TRUNCATE)");
    if (what === "deleted") rmSync(folder.file);
    else renameSync(folder.file, elsewhere);
    if (what === "replaced") writeFileSync(folder.file, "");
    // Commits that follow each other more closely are not all checked.
    await sleep(15);
    const gone = {
      code: "OMNIQ_BACKEND_FAILED",
      retryable: false,
      message: expect.stringContaining("moved, deleted or replaced"),
    };
    await expect(enqueue(queue, task({ id: "b" }))).rejects.toMatchObject(gone);
    await expect(queue.settle([complete(lease!)])).rejects.toMatchObject(gone);
    // Who only waits hears it, too.
    await waiting.toMatchObject(gone);
    await expect(queue.counts()).rejects.toMatchObject(gone);
    await backend.close();
    expect(raw.prepare("SELECT id FROM omniq_tasks").all()).toEqual([{ id: "a" }]);
    raw.close();
  },
);

test("a process that opened the file while it could only be read writes when it may", { timeout: 30_000 }, async () => {
  await enqueue(folder.open().taskQueue(), task({ id: "before" }));
  // The rights of files do not bind root: then another user's process it is.
  const program = `
    if (process.getuid?.() === 0) process.setuid(65534);
    const { sqlite } = await import("@omniq/sqlite");
    const queue = sqlite({ databasePath: process.argv[1] }).taskQueue();
    const add = (id) => queue.enqueue([{ tasks: [{ id, name: "n", queue: "q", payload: "p", envelope: "e", priority: 0, maxAttempts: 1, resultTtlMs: 0, rememberMs: 1 }] }]);
    console.log((await queue.counts()).q.ready);
    await add("early").then(() => console.log("stored"), (error) => console.log(error.code, error.retryable, error.message.includes("read-only")));
    process.stdin.once("data", async () => {
      await add("late").then(() => console.log("stored"), (error) => console.log(error.code));
      process.exit();
    });
  `;
  const files = ["", "-wal", "-shm"].map((end) => folder.file + end);
  chmodSync(folder.path, 0o777);
  for (const file of files) chmodSync(file, 0o444);
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program, folder.file], {
    cwd: new URL("..", import.meta.url),
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines: string[] = [];
  let said = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    lines.splice(0, lines.length, ...said.split("\n").filter((line) => line !== ""));
  });
  while (lines.length < 2) await sleep(20);
  expect(lines).toEqual(["1", "OMNIQ_BACKEND_FAILED true true"]);
  for (const file of files) chmodSync(file, 0o666);
  child.stdin.write("now\n");
  await new Promise((done) => child.once("exit", done));
  expect(lines[2]).toBe("stored");
  expect(ids(await reserve(folder.open().taskQueue()))).toEqual(["before", "late"]);
});

/** A handle whose COMMIT fails with this error of SQLite. */
function failing(database: SqliteDatabaseLike, code: () => string | undefined): SqliteDatabaseLike {
  return {
    get inTransaction() {
      return database.inTransaction;
    },
    prepare(sql) {
      const statement = database.prepare(sql);
      if (sql !== "COMMIT") return statement;
      return {
        ...{ get: (...values) => statement.get(...values), all: (...values) => statement.all(...values) },
        run: (...values) => {
          const error = code();
          if (error !== undefined) throw Object.assign(new Error(error), { code: error });
          return statement.run(...values);
        },
      };
    },
  };
}

test("a commit whose end is not known is told so; of one that can't have been stored another error is told", async () => {
  const database = new (sqliteDriver())(folder.file);
  let code: string | undefined;
  const queue = folder.open({ database: failing(database, () => code) }).taskQueue();
  await enqueue(queue, task({ id: "a" }));
  const [lease] = await reserve(queue);
  code = "SQLITE_IOERR_FSYNC";
  for (const call of [
    () => enqueue(queue, task({ id: "b" })),
    () => queue.settle([complete(lease!)]),
    () => queue.extend([lease!], 1_000),
    () => queue.cancel(["a"]),
    () => queue.pause("q"),
    () => queue.remove(["a"]),
  ])
    await expect(call()).rejects.toMatchObject({ code: "OMNIQ_OUTCOME_UNKNOWN", retryable: true });
  code = "SQLITE_FULL";
  await expect(enqueue(queue, task({ id: "b" }))).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FULL",
    retryable: true,
  });
  code = undefined;
  expect(await enqueue(queue, task({ id: "b" }))).toEqual(["enqueued"]);
  expect(await queue.settle([complete(lease!)])).toEqual(["settled"]);
  await queue.close();
  database.close();
});

test("a file that is damaged, of another program, or of a version that can't be read is a clear error", async () => {
  const write = (name: string, make: (path: string) => void): string => {
    const path = join(folder.path, name);
    make(path);
    return path;
  };
  const backend = folder.open();
  await enqueue(backend.taskQueue(), ...Array.from({ length: 200 }, () => task({ payload: "x".repeat(2_000) })));
  await backend.close();
  const bytes = readFileSync(folder.file);
  const broken = Buffer.from(bytes);
  broken.fill(255, 0, 100);
  const pages = Buffer.from(bytes);
  pages.fill(170, 4096);
  const other = (sql: string) => (path: string) => {
    const raw = new (sqliteDriver())(path);
    raw.exec(sql);
    raw.close();
  };
  const files = [
    write("no.db", (path) => writeFileSync(path, "no database ".repeat(1_000))),
    write("head.db", (path) => writeFileSync(path, broken)),
    write("pages.db", (path) => writeFileSync(path, pages)),
    write("cut.db", (path) => (writeFileSync(path, bytes), truncateSync(path, 5_000))),
    write("folder.db", (path) => mkdirSync(path)),
    write("foreign.db", other("CREATE TABLE omniq_meta (a, b)")),
    write("text.db", other("CREATE TABLE omniq_meta (key, value); INSERT INTO omniq_meta VALUES ('version', 'soon')")),
    write("blob.db", other("CREATE TABLE omniq_meta (key, value); INSERT INTO omniq_meta VALUES ('version', x'00ff')")),
    write("minus.db", other("CREATE TABLE omniq_meta (key, value); INSERT INTO omniq_meta VALUES ('version', -1)")),
    write("empty.db", other("CREATE TABLE omniq_meta (key, value); INSERT INTO omniq_meta VALUES ('version', '2')")),
  ];
  for (const file of files) {
    const opened = folder.open({ databasePath: file });
    const queue = opened.taskQueue();
    for (const call of [() => enqueue(queue, task()), () => reserve(queue), () => queue.counts()]) {
      const error = await call().then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(isOmniQError(error), `${file}: ${inspect(error)}`).toBe(true);
      expect(error).toMatchObject({
        code: "OMNIQ_BACKEND_FAILED",
        retryable: false,
        message: expect.stringContaining(file),
      });
    }
    await opened.close();
  }
  // One that another program marked as its own, but that has no table of ours, is shared with it.
  const shared = write(
    "shared.db",
    other("PRAGMA application_id = 1234; PRAGMA user_version = 99; CREATE TABLE mine (a)"),
  );
  expect(await enqueue(folder.open({ databasePath: shared }).taskQueue(), task())).toEqual(["enqueued"]);
});
