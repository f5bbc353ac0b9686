// The store by configuration alone: the URL's scheme finds its package, in the main thread and in others.
import { OmniQ } from "@omniq/core";
import { file } from "@omniq/file";
import { store } from "@omniq/file-s3";
import { connectFromThread, meetForeignObjects, passTask, startStand } from "omniq-test-stores";
import { afterAll, expect, test } from "vitest";

const { server, storageOptions } = await startStand("s3", "orders");
afterAll(() => server.stop());

test("a task goes through a bucket that a configuration names", async () => {
  await passTask("s3://orders/tasks", storageOptions);
  expect(server.counts.create).toBeGreaterThan(1);
});
test("a thread finds the store's package too", () =>
  connectFromThread((name) => import(name), "s3://orders/tasks", storageOptions));
test("foreign objects are not obeyed, and work goes on behind them", () =>
  meetForeignObjects(store, "s3://orders/foreign", storageOptions));

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
