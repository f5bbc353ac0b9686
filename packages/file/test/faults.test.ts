// What goes wrong with disks and folders: full, torn, foreign, in the way; and clocks that are set back.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { OmniQError, type NewTask } from "@omniq/core";
import { CommitLog, file, LocalStore, MemoryObjects, MemoryObjectStore } from "@omniq/file";
import { Replica } from "@omniq/replica";
import { afterAll, describe, expect, test, vi } from "vitest";

const root = mkdtempSync(join(tmpdir(), "omniq-faults-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const task = (id: string, payload = "p"): NewTask => ({
  id,
  name: "n",
  queue: "q",
  payload,
  envelope: "{}",
  priority: 0,
  maxAttempts: 3,
  resultTtlMs: null,
  rememberMs: 60_000,
});
async function fill(folder: string, count: number): Promise<void> {
  await using backend = file({ baseDir: join(root, folder) });
  for (let index = 0; index < count; index++) await backend.taskQueue().enqueue([{ tasks: [task(`t${index}`)] }]);
}
describe("a full disk", () => {
  // The limit of a file's size stands in for the disk's: the kernel refuses the write, and small ones still fit.
  test("enqueue fails with OMNIQ_BACKEND_FULL, what was acknowledged is intact, and work goes on when there is room", async () => {
    const folder = join(root, "full");
    const program = fileURLToPath(new URL("./full-disk-program.mjs", import.meta.url));
    const limited = `trap '' XFSZ; ulimit -f 64; exec "$0" "$1" "$2"`;
    const { stdout } = await promisify(execFile)("bash", ["-c", limited, process.execPath, program, folder]);
    expect(JSON.parse(stdout)).toEqual({
      before: "accepted",
      full: { code: "OMNIQ_BACKEND_FULL", retryable: true },
      after: "accepted",
    });
    expect(readdirSync(join(folder, ".tmp"))).toEqual([]);
    await using backend = file({ baseDir: folder });
    const { items } = await backend.taskQueue().list({}, { limit: 10 });
    expect(items.map(({ id }) => id)).toEqual(["before", "after"]);
    expect((await backend.taskQueue().enqueue([{ tasks: [task("big", "x".repeat(200_000))] }]))[0]?.state).toBe(
      "accepted",
    );
  });
});

describe("a disk that is full when a process starts", () => {
  test("what is there can be read, and work goes on when there is room", async () => {
    await fill("start", 2);
    let isFull = true;
    class FullStore extends LocalStore {
      override async create(key: string, body: Uint8Array) {
        if (isFull) throw new OmniQError("OMNIQ_BACKEND_FULL", "no room");
        return await super.create(key, body);
      }
    }
    const store = new FullStore(join(root, "start"));
    const backend = file({ store });
    const queue = backend.taskQueue();
    expect((await queue.counts())["q"]?.ready).toBe(2);
    await expect(queue.enqueue([{ tasks: [task("more")] }])).rejects.toMatchObject({ code: "OMNIQ_BACKEND_FULL" });
    isFull = false;
    expect((await queue.enqueue([{ tasks: [task("more")] }]))[0]?.state).toBe("accepted");
    await backend.close();
    await store.close();
  });
});

describe("files that are not what they should be", () => {
  test("files with names that are none of ours are left alone", async () => {
    await fill("notes", 2);
    mkdirSync(join(root, "notes", "checkpoint"));
    for (const name of ["log/notes.txt", "checkpoint/notes.txt", "readme.txt"])
      writeFileSync(join(root, "notes", name), "hello");
    await using backend = file({ baseDir: join(root, "notes") });
    expect((await backend.taskQueue().counts())["q"]?.ready).toBe(2);
    expect(readFileSync(join(root, "notes", "log/notes.txt"), "utf8")).toBe("hello");
  });
});

describe("time", () => {
  test("a wall clock that is set back by an hour freezes no lease", async () => {
    const now = vi.spyOn(Date, "now");
    try {
      const objects = new MemoryObjects(() => Date.now());
      const replica = await Replica.open(new CommitLog(new UndatedStore(objects)));
      const [leases] = await replica
        .execute([
          { verb: "enqueue", calls: [{ tasks: [task("a")] }] },
          { verb: "reserve", queues: ["q"], limit: 1, leaseMs: 50, worker: "w" },
        ])
        .then(([, given]) => [given]);
      expect(leases).toHaveLength(1);
      const before = replica.now();
      now.mockImplementation(() => before - 3_600_000);
      await new Promise((resolve) => setTimeout(resolve, 80));
      expect(replica.now()).toBeGreaterThan(before + 50);
      await replica.execute([{ verb: "sweep", limit: 10 }]);
      expect(replica.view().tasks.get("a")?.expiries).toBe(1);
      await replica.close();
    } finally {
      now.mockRestore();
    }
  });
});

/** A store that tells no time, as a folder. */
class UndatedStore extends MemoryObjectStore {
  override async read(key: string) {
    return { object: (await super.read(key)).object };
  }
  override async create(key: string, body: Uint8Array) {
    return { state: (await super.create(key, body)).state };
  }
  override async list(prefix: string, after?: string, limit?: number) {
    return { objects: (await super.list(prefix, after, limit)).objects };
  }
}
