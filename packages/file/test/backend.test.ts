// Folders, URLs and stores as options; components on their own beside other backends.
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { OmniQ, type NewTask } from "@omniq/core";
import { adapter, file, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { memory } from "@omniq/memory";
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
    [{}, "baseDir"],
    [{ baseDir: "" }, "baseDir"],
    [{ baseDir: "x", store: new MemoryObjectStore() }, "exclude"],
    [{ baseDir: "x", colour: 1 }, "colour"],
    [{ baseDir: "./x", storageOptions: { region: "r" } }, "storageOptions"],
    [{ baseDir: "file://relative/path" }, "file:///absolute"],
    [{ baseDir: "x", deletionGraceMs: 0 }, "deletionGraceMs"],
  ])("refuses %j", (options, name) => {
    expect(() => file(options as never)).toThrow(name);
  });
});

describe("each component on its own", () => {
  test.each(["resultStorage", "eventStorage", "scheduleStorage", "taskQueue"] as const)("%s", async (kind) => {
    await using files = file({ baseDir: join(root, kind) });
    await using other = memory();
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
    await worker.stop();
  });
});
