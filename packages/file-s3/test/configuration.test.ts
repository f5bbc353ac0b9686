// The cloud stores by configuration alone, in the words of an fsspec user: the URL's scheme finds the store's package.
import { defineTask, OmniQ } from "@omniq/core";
import { file } from "@omniq/file";
import { startStand } from "omniq-test-stores";
import { afterAll, expect, test } from "vitest";

const stand = await startStand("s3", "orders");
afterAll(() => stand.server.stop());

test("a task goes through a bucket that a configuration names", async () => {
  const omniq = await OmniQ.load({
    adapters: [file],
    config: {
      taskQueue: { type: "file", base_dir: "s3://orders/tasks", storage_options: stand.storageOptions },
    } as never,
  });
  const double = defineTask({ name: "double", run: (input: number) => input * 2 });
  const handle = await omniq.enqueue(double, 21);
  const worker = omniq.worker({ tasks: [double] });
  await worker.start();
  try {
    expect(await handle.result()).toBe(42);
    expect(stand.server.counts.create).toBeGreaterThan(1);
  } finally {
    await worker.stop();
    await omniq.close();
  }
});

test("a wrong option names its path, and no secret", async () => {
  const loaded = OmniQ.load({
    adapters: [file],
    config: {
      taskQueue: { type: "file", baseDir: "s3://orders/tasks", storageOptions: { regoin: "eu", secret: "hush" } },
    } as never,
  });
  await expect(loaded).rejects.toMatchObject({
    code: "OMNIQ_CONFIG_INVALID",
    message: expect.stringContaining("regoin"),
  });
  await expect(loaded).rejects.not.toMatchObject({ message: expect.stringContaining("hush") });
});
