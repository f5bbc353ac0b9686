// The store: migrations, bad files, transactions of the user's, group commit, several processes, waiting and closing.
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { sqlite, sqliteDriver } from "@omniq/sqlite";
import { complete, enqueue, Folder, ids, reserve, task } from "./harness.ts";

let folder: Folder;
beforeEach(() => (folder = new Folder()));
afterEach(() => folder.remove());

test("many open a new file at once, each table is made once, and a newer version is refused", async () => {
  const backends = Array.from({ length: 8 }, () => folder.open());
  await Promise.all(backends.map((backend) => backend.check()));
  await folder.open({ prefix: "other" }).check();
  const raw = new (sqliteDriver())(folder.file);
  expect(raw.prepare("SELECT value FROM omniq_meta WHERE key = 'version'").get()).toEqual({ value: "2" });
  raw.exec("UPDATE other_meta SET value = '99' WHERE key = 'version'");
  raw.close();
  await expect(folder.open({ prefix: "other" }).check()).rejects.toMatchObject({ code: "OMNIQ_ADAPTER_INCOMPATIBLE" });
  await backends[0]!.check();
});

test("prefixes are apart", async () => {
  const one = folder.open({ prefix: "one" }).taskQueue();
  const two = folder.open({ prefix: "two" }).taskQueue();
  await enqueue(one, task({ id: "same" }));
  expect(await enqueue(two, task({ id: "same" }))).toEqual(["enqueued"]);
  expect(await reserve(one)).toHaveLength(1);
  expect(await reserve(two)).toHaveLength(1);
});

test("files that can't be used name their path", async () => {
  const bad = join(folder.path, "bad.db");
  writeFileSync(bad, "this is not a database, but it is long enough to be looked at as one".repeat(20));
  await expect(folder.open({ databasePath: bad }).check()).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FAILED",
    message: expect.stringContaining(bad),
  });
  const directory = join(folder.path, "directory");
  mkdirSync(directory);
  await expect(folder.open({ databasePath: directory }).check()).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FAILED",
    message: expect.stringContaining(directory),
  });
  await expect(folder.open({ databasePath: join(bad, "x", "y.db") }).check()).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FAILED",
  });
  await folder.open({ databasePath: join(folder.path, "new", "folder", "x.db") }).check();
  expect(() => sqlite({})).toThrow(expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID" }));
  expect(() => sqlite({ databasePath: "x", prefix: "a;b" })).toThrow(
    expect.objectContaining({ code: "OMNIQ_CONFIG_INVALID" }),
  );
});

test("a full database says so, keeps what it has, and goes on when there is room", async () => {
  const database = new (sqliteDriver())(folder.file);
  const queue = folder.open({ database }).taskQueue();
  await enqueue(queue, task({ id: "before" }));
  const pages = database.pragma("page_count", { simple: true }) as number;
  database.pragma(`max_page_count = ${pages}`);
  await expect(enqueue(queue, task({ id: "big", payload: "x".repeat(500_000) }))).rejects.toMatchObject({
    code: "OMNIQ_BACKEND_FULL",
    retryable: true,
  });
  database.pragma("max_page_count = 1000000");
  expect(await enqueue(queue, task({ id: "big", payload: "x".repeat(500_000) }))).toEqual(["enqueued"]);
  expect(ids(await reserve(queue))).toEqual(["before", "big"]);
  await queue.close();
  database.close();
});

test.each(["same handle", "other handle"])("a user's transaction on the %s", async (kind) => {
  const database = new (sqliteDriver())(folder.file);
  const backend = kind === "same handle" ? folder.open({ database }) : folder.open();
  const queue = backend.taskQueue();
  database.exec("CREATE TABLE orders (id INTEGER)");
  const waiting = reserve(queue, 1, { waitMs: 20_000 });
  const add = database.transaction((id: string, fails: boolean) => {
    database.exec("INSERT INTO orders VALUES (1)");
    queue.enqueueSync([{ tasks: [task({ id })] }], { transaction: database });
    if (fails) throw new Error("no");
  });
  expect(() => add("never", true)).toThrow("no");
  add("there", false);
  expect(ids(await waiting)).toEqual(["there"]);
  expect(await queue.get(["never"])).toEqual([undefined]);
  expect(() => queue.enqueueSync([{ tasks: [task()] }], { transaction: database })).toThrow(
    expect.objectContaining({ code: "OMNIQ_INVALID_OPTION" }),
  );
  await expect(queue.enqueue([{ tasks: [task()] }], { transaction: {} })).rejects.toMatchObject({
    code: "OMNIQ_INVALID_OPTION",
  });
  const stranger = new (sqliteDriver())(":memory:");
  stranger.exec("BEGIN");
  expect(() => queue.enqueueSync([{ tasks: [task()] }], { transaction: stranger })).toThrow(
    expect.objectContaining({ code: "OMNIQ_INVALID_OPTION" }),
  );
  stranger.close();
  await backend.close();
  expect(database.open).toBe(true);
  database.close();
});

test("calls of one turn share a commit, and one that fails disturbs no other", async () => {
  const queue = folder.open().taskQueue();
  await queue.counts();
  const reader = new (sqliteDriver())(folder.file);
  const version = () => reader.pragma("data_version", { simple: true });
  const before = version() as number;
  const bad = { ...task(), payload: {} as unknown as string };
  const answers = await Promise.allSettled([
    enqueue(queue, task()),
    enqueue(queue, bad),
    ...Array.from({ length: 50 }, () => enqueue(queue, task())),
  ]);
  expect(answers.map((answer) => answer.status).filter((status) => status === "rejected")).toHaveLength(1);
  expect((await queue.counts(["q"]))["q"]?.ready).toBe(51);
  expect(version()).not.toBe(before);
  // Those of one transaction have the same time. A loaded machine may take more than one slice; 51 would be one each.
  const { n } = reader.prepare("SELECT count(DISTINCT enqueued_at) AS n FROM omniq_tasks").get() as { n: number };
  expect(n).toBeLessThan(10);
  reader.close();
});

test("a locked file is waited for, without blocking the event loop", async () => {
  const queue = folder.open().taskQueue();
  await queue.counts();
  const other = new (sqliteDriver())(folder.file);
  other.exec("BEGIN IMMEDIATE");
  let turns = 0;
  const ticking = setInterval(() => turns++, 1);
  setTimeout(() => other.exec("COMMIT"), 200);
  expect(await enqueue(queue, task())).toEqual(["enqueued"]);
  clearInterval(ticking);
  expect(turns).toBeGreaterThan(10);
  other.close();
});

test("waits end by abort, close and time; closed components refuse", async () => {
  const backend = folder.open();
  const queue = backend.taskQueue();
  const abort = new AbortController();
  const aborted = queue.reserve(
    { queues: ["q"], limit: 1, leaseMs: 1_000, waitMs: 60_000, worker: "w" },
    { signal: abort.signal },
  );
  setTimeout(() => abort.abort(new Error("enough")), 10);
  await expect(aborted).rejects.toThrow("enough");
  expect(await reserve(queue, 1, { waitMs: 20 })).toEqual([]);
  const open = reserve(queue, 1, { waitMs: 60_000 });
  const result = backend.resultStorage().wait([{ taskId: "x", run: 1 }], 60_000);
  const tail = backend.eventStorage().tail({}, "start")[Symbol.asyncIterator]().next();
  await new Promise((done) => setTimeout(done, 20));
  await backend.close();
  await backend.close();
  expect(await open).toEqual([]);
  expect(await result).toEqual([]);
  expect(await tail).toEqual({ done: true, value: undefined });
  await expect(reserve(queue)).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
  await expect(backend.check()).rejects.toMatchObject({ code: "OMNIQ_CLOSED" });
});

test("another connection's commit wakes waiters; a scheduled task wakes at its time; results and events flow", async () => {
  const here = folder.open();
  const there = folder.open();
  const waiting = reserve(here.taskQueue(), 1, { waitMs: 20_000 });
  const result = here.resultStorage().wait([{ taskId: "far", run: 1 }], 20_000);
  const tail = here.eventStorage().tail({ taskId: "far" }, "start")[Symbol.asyncIterator]();
  const event = tail.next();
  await enqueue(there.taskQueue(), task({ id: "far", delayMs: 30 }));
  const [lease] = await waiting;
  expect(lease?.taskId).toBe("far");
  const told = {
    id: "e",
    at: 1,
    type: "completed" as const,
    taskId: "far",
    taskName: "n",
    queue: "q",
    run: 1,
    attempt: 1,
  };
  await there.taskQueue().settle([{ ...complete(lease!), events: [told] }]);
  expect(await result).toMatchObject([{ taskId: "far", status: "completed" }]);
  expect((await event).value).toMatchObject(told);
  await tail.return?.();
});

test("schedules advance once per revision", async () => {
  const storage = folder.open().scheduleStorage();
  const schedule = { id: "s", rule: "r", template: "t", nextAt: 5, runs: 0, paused: false };
  const stored = await storage.put(schedule, null);
  expect(await storage.put(schedule, null)).toBeUndefined();
  const racers = await Promise.all(
    Array.from({ length: 10 }, () => storage.advance("s", stored!.revision, { nextAt: 6, runs: 1 })),
  );
  expect(racers.filter(Boolean)).toHaveLength(1);
  expect((await storage.due(10)).schedules).toMatchObject([{ id: "s", nextAt: 6, runs: 1 }]);
  expect(await storage.delete(["s", "s"])).toEqual([true, false]);
});

test("consumers in several processes get each task once", { timeout: 60_000 }, async () => {
  const queue = folder.open().taskQueue();
  await enqueue(queue, ...Array.from({ length: 400 }, (_, index) => task({ id: `p${index}` })));
  const program = `
    import { sqlite } from "@omniq/sqlite";
    const queue = sqlite({ databasePath: process.argv[1] }).taskQueue();
    let settlements = [];
    for (;;) {
      const { states, leases } = await queue.settleAndReserve(settlements, { queues: ["q"], limit: 7, leaseMs: 30000, waitMs: 0, worker: "w" });
      if (states.some((state) => state !== "settled")) throw new Error("lost");
      if (leases.length === 0) break;
      for (const lease of leases) console.log(lease.taskId);
      settlements = leases.map((lease) => ({ ...lease, outcome: "completed", storeResult: true }));
      await new Promise((done) => setTimeout(done, 2));
    }
    await queue.close();`;
  const run = () =>
    new Promise<string[]>((resolve, reject) => {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program, folder.file], {
        cwd: join(import.meta.dirname, ".."),
      });
      let out = "";
      let errors = "";
      child.stdout.on("data", (data) => (out += String(data)));
      child.stderr.on("data", (data) => (errors += String(data)));
      child.on("close", (code) => (code === 0 ? resolve(out.split("\n").filter(Boolean)) : reject(new Error(errors))));
    });
  const seen = (await Promise.all([run(), run(), run()])).flat();
  expect(seen).toHaveLength(400);
  expect(new Set(seen).size).toBe(400);
  expect(await queue.counts()).toEqual({});
});
