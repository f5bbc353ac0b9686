// Options of the Azure store: names of the SDK, aliases of other tools, URLs, mistakes. No server: what is asked for is looked at on its way.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { OmniQError } from "@omniq/core";
import { azure, store } from "@omniq/file-azure";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";

/** The last request that arrived; each is answered as an empty list would be. */
let heard: { readonly url: string; readonly authorization: string | undefined } | undefined;
const server = createServer((request, response) => {
  heard = { url: request.url ?? "", authorization: request.headers.authorization };
  response.setHeader("Content-Type", "application/xml");
  response.end('<?xml version="1.0"?><EnumerationResults><Blobs /><NextMarker /></EnumerationResults>');
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
afterEach(() => vi.unstubAllEnvs());

const accountKey = Buffer.from("a key").toString("base64");

describe("names that reach the container", () => {
  test.each([
    ["the SDK's", { endpoint: url, accountName: "acme", accountKey }],
    ["adlfs's", { endpoint_url: url, account_name: "acme", account_key: accountKey }],
    [
      "a connection string",
      {
        connection_string: `DefaultEndpointsProtocol=http;AccountName=acme;AccountKey=${accountKey};BlobEndpoint=${url}`,
      },
    ],
  ])("%s", async (_, storageOptions) => {
    await store.fromUrl("az://orders/tasks", storageOptions).list("log/");
    expect(heard?.url).toMatch(/^\/orders\?.*prefix=tasks%2Flog%2F/);
    expect(heard?.authorization).toMatch(/^SharedKey acme:/);
  });

  test("a shared access signature rides in the URL, and in nothing else", async () => {
    await store.fromUrl("az://orders", { endpoint: url, sasToken: "?sv=2025&sig=abc" }).list("");
    expect(heard?.url).toContain("sig=abc");
    expect(heard?.authorization).toBeUndefined();
  });

  test("abfs:// with the account in the URL, and the connection string of the environment", async () => {
    await store.fromUrl("abfs://orders@acme.dfs.core.windows.net/tasks", { accountKey, endpoint: url }).list("");
    expect(heard?.authorization).toMatch(/^SharedKey acme:/);
    vi.stubEnv(
      "AZURE_STORAGE_CONNECTION_STRING",
      `DefaultEndpointsProtocol=http;AccountName=other;AccountKey=${accountKey};BlobEndpoint=${url}`,
    );
    await store.fromUrl("az://orders/tasks", undefined).list("");
    expect(heard?.authorization).toMatch(/^SharedKey other:/);
  });
});

describe("mistakes", () => {
  const invalid = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      expect(error).toBeInstanceOf(OmniQError);
      expect((error as OmniQError).code).toBe("OMNIQ_CONFIG_INVALID");
      return (error as OmniQError).message;
    }
    throw new Error("it was accepted");
  };

  test.each([
    [{ acount_name: "a" }, /"acount_name" is unknown; known are connectionString/],
    [{ accountKey, sasToken: "sig=a" }, /accountKey and sasToken exclude each other/],
    [{ clientSecret: "hush" }, /clientSecret needs tenantId and clientId/],
    [{ connectionString: "AccountName=a", endpoint: url }, /connectionString holds the endpoint/],
    [{ endpoint: "acme" }, /endpoint must be a URL/],
  ])("storage options %j", (storageOptions, message) => {
    const said = invalid(() => store.fromUrl("az://orders", storageOptions));
    expect(said).toMatch(message);
    expect(said).not.toMatch(/hush|sig=/);
  });

  test.each(["az://", "az://Orders", "az://orders--x", "az://orders/x?y=1", "az://orders/a b"])("URL %s", (given) => {
    expect(invalid(() => store.fromUrl(given, {}))).toMatch(/Azure/);
  });

  test("no account, and a connection string that is none", async () => {
    for (const name of ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"]) vi.stubEnv(name, undefined);
    await expect(azure({ container: "orders" }).read("a")).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.stringContaining("accountName is missing"),
    });
    await expect(azure({ container: "orders", connectionString: "hush-hush" }).read("a")).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.not.stringContaining("hush"),
    });
  });
});
