// What every store behind a URL must do when a configuration names it.
import assert from "node:assert/strict";
import { defineTask, OmniQ, typeOnly } from "@omniq/core";
import { file, type ObjectStoreAdapter } from "@omniq/file";

type StorageOptions = Readonly<Record<string, string>>;
const load = (baseDir: string, storageOptions: StorageOptions): Promise<OmniQ> =>
  OmniQ.load({
    adapters: [file],
    config: { taskQueue: { type: "file", base_dir: baseDir, storage_options: storageOptions } } as never,
  });

/** A task goes through the container that the URL names, in the words of an fsspec user. */
export async function passTask(baseDir: string, storageOptions: StorageOptions): Promise<void> {
  const omniq = await load(baseDir, storageOptions);
  const double = defineTask({ name: "double", input: typeOnly<number>(), run: (input) => input * 2 });
  const handle = await omniq.enqueue(double, 21);
  const worker = omniq.worker({ tasks: [double] });
  await worker.start();
  try {
    assert.equal(await handle.result(), 42);
  } finally {
    await worker.stop();
    await omniq.close();
  }
}

/** Objects with other names are left alone; one that is no commit, under a commit's name, is void for all: work goes on behind it. */
export async function meetForeignObjects(
  store: ObjectStoreAdapter,
  baseDir: string,
  storageOptions: StorageOptions,
): Promise<void> {
  const task = defineTask({ name: "task", run: () => 1 });
  const objects = store.fromUrl(baseDir, storageOptions);
  const body = new TextEncoder().encode("hello\n");
  for (const key of ["log/notes.txt", "checkpoint/notes.txt", "readme.txt"]) await objects.create(key, body);
  {
    await using omniq = await load(baseDir, storageOptions);
    await omniq.enqueue(task);
    assert.equal((await omniq.queue("default").counts()).ready, 1);
  }
  assert.deepEqual(Buffer.from((await objects.read("log/notes.txt")).object?.body ?? []), Buffer.from(body));
  const next = (await objects.list("log/0")).objects.length + 1;
  await objects.create(`log/${String(next).padStart(20, "0")}`, body);
  {
    await using omniq = await load(baseDir, storageOptions);
    assert.equal((await omniq.queue("default").counts()).ready, 1);
    await omniq.enqueue(task);
  }
  {
    await using omniq = await load(baseDir, storageOptions);
    assert.equal((await omniq.queue("default").counts()).ready, 2);
  }
  await objects.close();
}

/**
 * A thread makes a connection of its own from what the backend gives it, wherever the process was started. `importPackage`: how the configuration
 * finds the store's package.
 */
export async function connectFromThread(
  importPackage: (name: string) => Promise<Readonly<Record<string, unknown>>>,
  baseDir: string,
  storageOptions: StorageOptions,
): Promise<void> {
  const { load: loadBackend } = file;
  assert.ok(loadBackend);
  await using backend = await loadBackend({ baseDir, storageOptions } as never, { import: importPackage });
  const remote = structuredClone(backend.remote);
  assert.ok(remote);
  assert.match(JSON.stringify(remote.options), /storeModule/);
  const module = (await import(remote.module)) as { adapter(options: unknown): typeof backend };
  await using made = module.adapter(remote.options);
  await made.check();
}
