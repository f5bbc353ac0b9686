// The object store suite, and the cases of failing networks, on Azurite.
import { testObjectStore } from "@omniq/conformance";
import { BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob";
import { azure, type AzureOptions } from "@omniq/file-azure";
import { azuriteAccount, azuriteKey, startAzureServer, storeCases } from "omniq-test-stores";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const server = await startAzureServer();
const endpoint = `${server.url}/${azuriteAccount}`;
const service = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(azuriteAccount, azuriteKey));
await service.createContainer("orders");
afterAll(() => server.stop());
afterEach(() => {
  server.fault = undefined;
});

const options = (prefix: string): AzureOptions => ({
  container: "orders",
  prefix,
  endpoint,
  accountName: azuriteAccount,
  accountKey: azuriteKey,
});

testObjectStore({
  describe,
  // Azurite takes some milliseconds of processor time for each request.
  test: (name, body, timeoutMs = 60_000) => test(name, body, 3 * timeoutMs),
  open: (name) => azure(options(name)),
});

describe("failures", () => {
  for (const [i, one] of storeCases.entries())
    test(one.title, () =>
      one.run({
        server,
        secret: azuriteKey,
        open: ({ timeoutMs, container = "orders", wrong = false } = {}) =>
          azure({ ...options(`case-${i}`), container, timeoutMs, accountKey: wrong ? btoa("wrong") : azuriteKey }),
      }),
    );

  test("a connection string is all that is needed", async () => {
    const connectionString = `DefaultEndpointsProtocol=http;AccountName=${azuriteAccount};AccountKey=${azuriteKey};BlobEndpoint=${endpoint};`;
    const store = azure({ container: "orders", prefix: "connection", connectionString });
    expect(await store.create("a", new Uint8Array(1))).toMatchObject({ state: "created" });
  });

  test("no service at all: writes are unknown, the rest is unavailable", async () => {
    const store = azure({ ...options("gone"), endpoint: `http://127.0.0.1:1/${azuriteAccount}` });
    expect(await store.create("a", new Uint8Array(1))).toMatchObject({
      state: "unknown",
      wasSent: false,
      cause: { code: "OMNIQ_BACKEND_UNAVAILABLE" },
    });
    await expect(store.read("a")).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE", retryable: true });
  });
});
