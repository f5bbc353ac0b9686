// The store by configuration alone: the URL's scheme finds its package, in the main thread and in others.
import { store } from "@omniq/file-azure";
import { connectFromThread, meetForeignObjects, passTask, startStand } from "omniq-test-stores";
import { afterAll, test } from "vitest";

const { server, storageOptions } = await startStand("azure", "orders");
afterAll(() => server.stop());

test.each(["az", "abfs"])("a task goes through a container that a configuration names with %s://", (scheme) =>
  passTask(`${scheme}://orders/${scheme}`, storageOptions),
);
test("a thread finds the store's package too", () =>
  connectFromThread((name) => import(name), "az://orders/az", storageOptions));
test("foreign objects are not obeyed, and work goes on behind them", () =>
  meetForeignObjects(store, "az://orders/foreign", storageOptions));
