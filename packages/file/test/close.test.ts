// A store that is away or does not answer holds up neither close, nor an abort, nor the end of the process.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify, inspect } from "node:util";
import { file, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { afterAll, describe, expect, test } from "vitest";
import { task } from "./damaged.ts";

const root = mkdtempSync(join(tmpdir(), "omniq-close-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** A store whose answers stop coming. */
class StalledStore extends MemoryObjectStore {
  stalled = false;
  async #turn<T>(answer: () => Promise<T>): Promise<T> {
    return this.stalled ? await new Promise<T>(() => {}) : await answer();
  }
  override async read(key: string) {
    return await this.#turn(() => super.read(key));
  }
  override async create(key: string, body: Uint8Array) {
    return await this.#turn(() => super.create(key, body));
  }
  override async list(prefix: string, after?: string, limit?: number) {
    return await this.#turn(() => super.list(prefix, after, limit));
  }
}
const request = { queues: ["q"], limit: 1, leaseMs: 60_000, waitMs: 60_000, worker: "w" } as const;
async function seconds(work: Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work;
  return (performance.now() - begun) / 1_000;
}

describe.each(["before it was opened", "after"])("a store that stalls %s", (when) => {
  test("calls can be aborted, and close ends them within two seconds", async () => {
    const store = new StalledStore(new MemoryObjects());
    const backend = file({ store, checkpointBytes: 1 });
    const queue = backend.taskQueue();
    if (when === "after") await queue.enqueue([{ tasks: [task("a")] }]);
    store.stalled = true;
    const abort = new AbortController();
    const calls = [queue.reserve(request, { signal: abort.signal }), queue.counts(undefined, { signal: abort.signal })];
    const ends = Promise.allSettled(calls);
    setTimeout(() => abort.abort(new Error("enough")), 50);
    expect(await seconds(ends)).toBeLessThan(2);
    for (const end of await ends) expect(end).toMatchObject({ status: "rejected", reason: { message: "enough" } });
    const left = [queue.enqueue([{ tasks: [task("b")] }]), queue.counts(), queue.reserve(request)];
    const leftEnds = Promise.allSettled(left);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await seconds(backend.close())).toBeLessThan(2);
    for (const end of await leftEnds)
      expect(end).toMatchObject({ status: "rejected", reason: { code: "OMNIQ_CLOSED" } });
  });
});

test("a process ends by itself after close, whatever still waited: reserves, tails, a follower", async () => {
  const program = fileURLToPath(new URL("./close-program.mjs", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program, join(root, "ends")], { timeout: 20_000 });
  expect(Number(stdout)).toBeLessThan(2_000);
});

test("files and folders are their owner's alone", async () => {
  const baseDir = join(root, "own", "tasks");
  await using backend = file({ baseDir, checkpointBytes: 1 });
  for (const id of ["a", "b", "c"]) await backend.taskQueue().enqueue([{ tasks: [task(id)] }]);
  const mode = (name: string): number => statSync(join(baseDir, name)).mode & 0o777;
  for (const folder of ["", "log", ".tmp", "../"]) expect(mode(folder).toString(8)).toBe("700");
  expect(mode(`log/${"1".padStart(20, "0")}`).toString(8)).toBe("600");
});

test("options of a store are not shown by a backend and its components, and reach a thread whole", () => {
  const backend = file({
    baseDir: "s3://bucket",
    storageOptions: { accessKeyId: "id", secretAccessKey: "hunter2", region: "r" },
  } as never);
  for (const value of [backend, backend.taskQueue(), backend.resultStorage(), { deep: { list: [backend.remote] } }]) {
    expect(inspect(value, { depth: Infinity, showHidden: true, getters: true })).not.toContain("hunter2");
    expect(JSON.stringify(value)).not.toContain("hunter2");
  }
  expect(structuredClone(backend.remote?.options)).toMatchObject({ storageOptions: { secretAccessKey: "hunter2" } });
});
