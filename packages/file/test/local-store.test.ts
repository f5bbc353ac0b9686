// The object store suite on a folder, and what a disk adds to it.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testObjectStore } from "@omniq/conformance";
import { LocalStore, probeStore } from "@omniq/file";
import { afterAll, describe, expect, test } from "vitest";

const root = mkdtempSync(join(tmpdir(), "omniq-local-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

testObjectStore({ describe, test, open: (name) => new LocalStore(join(root, name)) });

describe("a folder", () => {
  const body = new TextEncoder().encode("body");
  test("the probe passes and leaves nothing behind", async () => {
    const store = new LocalStore(join(root, "probe"));
    await probeStore(store);
    expect((await store.list("")).objects).toEqual([]);
    await store.close();
    expect(readdirSync(join(root, "probe", ".tmp"))).toEqual([]);
  });
  test("keys that would leave the folder or hide in it are refused", async () => {
    const store = new LocalStore(join(root, "keys"));
    for (const key of ["../a", "a/../b", "/a", "a//b", ".hidden", "a/.b", "", "a\0b"])
      await expect(store.create(key, body)).rejects.toMatchObject({ code: "OMNIQ_INVALID_OPTION" });
    await store.close();
  });
  test("a file in the way of the folder is named", async () => {
    const store = new LocalStore(join(root, "file"));
    await store.create("a", body);
    await expect(store.create("a/b", body)).rejects.toMatchObject({ code: "OMNIQ_BACKEND_FAILED" });
    await store.close();
  });
  test("a folder that is removed under way is made again", async () => {
    const store = new LocalStore(join(root, "removed"));
    await store.create("log/1", body);
    rmSync(join(root, "removed"), { recursive: true });
    expect(await store.create("log/1", body)).toEqual({ state: "created" });
    await store.close();
  });
  test("of a long row of replaces few versions stay", async () => {
    const store = new LocalStore(join(root, "versions"));
    await store.create("a", body);
    for (let i = 0; i < 40; i++) {
      const { object } = await store.read("a");
      expect((await store.replace("a", body, object?.revision ?? "")).state).toBe("replaced");
    }
    expect(readdirSync(join(root, "versions", ".versions", "a")).length).toBeLessThan(20);
    await store.close();
  });
  test("watch tells of what comes", async () => {
    const store = new LocalStore(join(root, "watch"));
    let calls = 0;
    let heard = (): void => {};
    const stop = store.watch("log/", () => {
      calls++;
      heard();
    });
    await new Promise<void>((resolve) => (heard = resolve));
    const before = calls;
    const told = new Promise<void>((resolve) => (heard = resolve));
    await store.create("log/1", body);
    await told;
    expect(calls).toBeGreaterThan(before);
    stop();
    await store.close();
  });
});
