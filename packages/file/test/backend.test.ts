// Folders, URLs and stores as options; components on their own beside other backends.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { OmniQ, OmniQError, type NewTask } from "@omniq/core";
import { adapter, file, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { memory } from "@omniq/memory";
import { sqlite } from "@omniq/sqlite";
import { afterAll, describe, expect, test } from "vitest";

const root = mkdtempSync(join(tmpdir(), "omniq-file-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const task = (id: string): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload: "p",
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 0,
});

describe("options", () => {
  test("a path, a file:// URL and memory:// are stores of this package", async () => {
    const folder = join(root, "a folder");
    await using path = file({ baseDir: folder });
    await path.taskQueue().enqueue([{ tasks: [task("a")] }]);
    expect(existsSync(join(folder, "log", "1".padStart(20, "0")))).toBe(true);
    await using url = adapter(adapter.fromUrl?.(pathToFileURL(folder).href) as { baseDir: string });
    expect((await url.taskQueue().get(["a"]))[0]?.id).toBe("a");
    expect(url.taskQueue().capabilities).toMatchObject({ reach: "host", durable: true, minimumLeaseMs: 1 });
    await using one = file({ baseDir: "memory://shared" });
    await using two = file({ baseDir: "memory://shared" });
    await using alone = file({ baseDir: "memory://" });
    await one.taskQueue().enqueue([{ tasks: [task("a")] }]);
    expect((await two.taskQueue().get(["a"]))[0]?.id).toBe("a");
    expect(await alone.taskQueue().get(["a"])).toEqual([undefined]);
    expect(one.taskQueue().capabilities).toMatchObject({ reach: "process", durable: false });
  });
  test("a store of the user's is used and never closed", async () => {
    const store = new MemoryObjectStore(new MemoryObjects());
    const backend = file({ store });
    await backend.taskQueue().enqueue([{ tasks: [task("a")] }]);
    await backend.close();
    expect((await store.list("log/")).objects).toHaveLength(1);
  });
  test("a URL whose store is not installed names the install command, in code and in a configuration", async () => {
    await using backend = file({ baseDir: "nowhere://bucket/prefix" } as never);
    const message = expect.stringContaining("npm install @omniq/file-nowhere");
    expect(backend.taskQueue().capabilities).toMatchObject({ reach: "network", minimumLeaseMs: 30_000 });
    await expect(backend.check()).rejects.toMatchObject({ code: "OMNIQ_ADAPTER_NOT_FOUND", message });
    const config = { taskQueue: { type: "file", baseDir: "nowhere://bucket" } } as never;
    await expect(OmniQ.load({ config, adapters: [file] })).rejects.toMatchObject({ message });
  });
  test.each([
    ["s3://bucket/prefix", "s3"],
    ["az://container/prefix", "azure"],
    ["abfs://container@account.dfs.core.windows.net/prefix", "azure"],
    ["gs://bucket/prefix", "gcs"],
    ["gcs://bucket/prefix", "gcs"],
  ])("%s is a store of the package for %s", async (baseDir, name) => {
    const missing = {
      import: async (specifier: string) => {
        throw new OmniQError("OMNIQ_ADAPTER_NOT_FOUND", `run npm install ${specifier}`);
      },
    };
    await expect(file.load?.({ baseDir } as never, missing)).rejects.toMatchObject({
      message: `run npm install @omniq/file-${name}`,
    });
  });
  test.each([
    [{}, "baseDir"],
    [{ baseDir: "" }, "baseDir"],
    [{ baseDir: "x", store: new MemoryObjectStore() }, "exclude"],
    [{ baseDir: "x", colour: 1 }, "colour"],
    [{ baseDir: "./x", storageOptions: { region: "r" } }, "storageOptions"],
    [{ baseDir: "file://relative/path" }, "file:///absolute"],
    [{ baseDir: "x", deletionGraceMs: 0 }, "deletionGraceMs"],
    [{ baseDir: "x", giveUpMs: "soon" }, "giveUpMs"],
    [{ baseDir: 7 }, "baseDir"],
    [{ store: {} }, "store"],
    [undefined, "object"],
  ])("refuses %j", (options, name) => {
    expect(() => file(options as never)).toThrow(name);
  });
});

const kinds = ["resultStorage", "eventStorage", "scheduleStorage", "taskQueue"] as const;
const others = {
  memory: () => memory(),
  SQLite: (name: string) => sqlite({ databasePath: join(root, `${name}.db`) }),
} as const;
describe.each(["memory", "SQLite"] as const)("each component on its own beside %s", (beside) => {
  test.each(kinds)("%s", async (kind) => {
    await using files = file({ baseDir: join(root, `${beside}-${kind}`) });
    await using other = others[beside](kind);
    const components = {
      taskQueue: other,
      resultStorage: other,
      eventStorage: other,
      scheduleStorage: other,
      [kind]: files,
    };
    const { defineTask } = await import("@omniq/core");
    const double = defineTask({ name: "double", run: (input: number) => input * 2 });
    await using omniq = new OmniQ(components);
    const worker = omniq.worker({ tasks: [double] });
    await worker.start();
    const handles = await Promise.all([1, 2, 3].map((number) => omniq.enqueue(double, number)));
    expect(await Promise.all(handles.map((handle) => handle.result()))).toEqual([2, 4, 6]);
    const every = await omniq.schedules.put("every", { everyMs: 86_400_000, task: double.with(1) });
    expect((await omniq.schedules.get("every"))?.id).toBe(every.id);
    await worker.stop();
    // Each is where it was put.
    expect((await files.resultStorage().list({}, { limit: 10 })).items.length).toBe(kind === "resultStorage" ? 3 : 0);
    expect((await files.eventStorage().query({}, { limit: 100 })).items.length > 0).toBe(kind === "eventStorage");
    expect((await files.scheduleStorage().get(["every"]))[0]?.id).toBe(
      kind === "scheduleStorage" ? "every" : undefined,
    );
  });
});
