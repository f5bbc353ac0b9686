// Options of the Google Cloud Storage store: names of the SDK, aliases of other tools, URLs, mistakes.
import { OmniQError } from "@omniq/core";
import { gcs, store } from "@omniq/file-gcs";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { startGcsServer } from "omniq-test-stores";

const server = await startGcsServer({ buckets: ["orders"] });
afterAll(() => server.stop());
afterEach(() => vi.unstubAllEnvs());

const body = new TextEncoder().encode("x");

describe("names that reach the bucket", () => {
  test.each([
    ["the SDK's", { apiEndpoint: server.url, projectId: "p" }],
    ["snake_case", { api_endpoint: server.url, project_id: "p", timeout_ms: 9_000 }],
    ["gcsfs's", { endpoint_url: server.url, project: "p", token: "anon" }],
  ])("%s", async (name, storageOptions) => {
    const opened = store.fromUrl(`gs://orders/names/${name.replaceAll(/\W/g, "-")}/`, storageOptions);
    expect(await opened.create("a", body)).toMatchObject({ state: "created" });
    expect((await opened.list("")).objects.map(({ key }) => key)).toEqual(["a"]);
  });

  test("an emulator named by the SDK's own variable, and the other scheme", async () => {
    vi.stubEnv("STORAGE_EMULATOR_HOST", server.url);
    const opened = store.fromUrl("gcs://orders/emulator", undefined);
    expect(await opened.create("a", body)).toMatchObject({ state: "created" });
  });

  test("keys with characters that URLs treat apart come back as they are", async () => {
    const opened = gcs({ bucket: "orders", prefix: "it's/(here)!*", apiEndpoint: server.url });
    expect(await opened.create("payload/a=b", body)).toMatchObject({ state: "created" });
    expect((await opened.list("")).objects.map(({ key }) => key)).toEqual(["payload/a=b"]);
    expect((await opened.read("payload/a=b")).object?.body).toEqual(body);
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
    [{ projetc: "p" }, /"projetc" is unknown; known are keyFilename/],
    [{ project: "a", projectId: "b" }, /projectId is given twice/],
    [{ keyFilename: "a.json", credentials: {} }, /keyFilename and credentials exclude each other/],
    [{ token: "browser" }, /token must be/],
    [{ token: "anon", key_filename: "a.json" }, /keyFilename and anonymous exclude each other/],
    [{ endpoint: "not a url" }, /apiEndpoint must be a URL/],
    [{ credentials: "text" }, /credentials must be an object/],
  ])("storage options %j", (storageOptions, message) => {
    expect(invalid(() => store.fromUrl("gs://orders", storageOptions))).toMatch(message);
  });

  test.each(["gs://", "gs://Orders", "gs://orders/x?y=1", "gs://orders/./x"])("URL %s", (url) => {
    expect(invalid(() => store.fromUrl(url, {}))).toMatch(/Google Cloud Storage/);
  });

  test("a key file that is not there", async () => {
    await expect(gcs({ bucket: "orders", keyFilename: "./nowhere.json" }).create("a", body)).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.stringContaining("nowhere.json"),
    });
  });

  test("a key that is none", async () => {
    const credentials = { client_email: "a@b.c", private_key: "no key, but a-secret" };
    const failed = gcs({ bucket: "orders", credentials }).create("a", body);
    await expect(failed).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.not.stringContaining("a-secret"),
    });
  });
});
