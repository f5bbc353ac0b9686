// The store by configuration alone: the URL's scheme finds its package, in the main thread and in others.
import { store } from "@omniq/file-gcs";
import { connectFromThread, meetForeignObjects, passTask, startStand } from "omniq-test-stores";
import { afterAll, test } from "vitest";

const { server, storageOptions } = await startStand("gcs", "orders");
afterAll(() => server.stop());

test.each(["gs", "gcs"])("a task goes through a bucket that a configuration names with %s://", (scheme) =>
  passTask(`${scheme}://orders/${scheme}`, storageOptions),
);
test("a thread finds the store's package too", () =>
  connectFromThread((name) => import(name), "gs://orders/gs", storageOptions));
test("foreign objects are not obeyed, and work goes on behind them", () =>
  meetForeignObjects(store, "gs://orders/foreign", storageOptions));
