// Options of the S3 store: names of the SDK, aliases of other tools, URLs, mistakes.
import { OmniQError } from "@omniq/core";
import { s3, store } from "@omniq/file-s3";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { startS3Server } from "omniq-test-stores";

const server = await startS3Server({ buckets: ["orders"], accessKeyId: "the-key" });
afterAll(() => server.stop());
// What this machine has set up must not matter.
beforeEach(() => {
  for (const name of ["AWS_PROFILE", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
    vi.stubEnv(name, undefined);
  vi.stubEnv("AWS_EC2_METADATA_DISABLED", "true");
  vi.stubEnv("AWS_CONFIG_FILE", "/nonexistent");
  vi.stubEnv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
});
afterEach(() => vi.unstubAllEnvs());

const body = new TextEncoder().encode("x");

describe("names that reach the bucket", () => {
  test.each([
    ["the SDK's", { accessKeyId: "the-key", secretAccessKey: "s", endpoint: server.url, region: "eu-central-1" }],
    ["snake_case", { access_key_id: "the-key", secret_access_key: "s", endpoint: server.url, force_path_style: true }],
    ["s3fs's", { key: "the-key", secret: "s", token: "t", endpoint_url: server.url, region_name: "eu-central-1" }],
    ["boto's", { aws_access_key_id: "the-key", aws_secret_access_key: "s", endpoint_url: server.url }],
    [
      "texts of variables",
      { key: "the-key", secret: "s", endpointUrl: server.url, forcePathStyle: "true", timeoutMs: "9000" },
    ],
  ])("%s", async (name, storageOptions) => {
    const opened = store.fromUrl(`s3://orders/names/${name.replaceAll(/\W/g, "-")}/`, storageOptions);
    expect(await opened.create("a", body)).toMatchObject({ state: "created" });
    expect((await opened.list("")).objects.map(({ key }) => key)).toEqual(["a"]);
  });

  test("credentials of the environment, by the SDK's own chain", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "the-key");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "s");
    const opened = store.fromUrl("s3://orders/environment", { endpoint: server.url });
    expect(await opened.create("a", body)).toMatchObject({ state: "created" });
  });

  test("a prefix holds a store apart: a never sees ab, and the root sees both", async () => {
    const options = { bucket: "orders", endpoint: server.url, key: "the-key", secret: "s" };
    await s3({ ...options, prefix: "apart/a" }).create("x", body);
    await s3({ ...options, prefix: "/apart/ab/" }).create("y", body);
    expect((await s3({ ...options, prefix: "apart/a" }).list("")).objects.map(({ key }) => key)).toEqual(["x"]);
    const all = (await s3(options).list("apart/")).objects.map(({ key }) => key);
    expect(all).toEqual(["apart/a/x", "apart/ab/y"]);
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
    [{ regoin: "eu" }, /"regoin" is unknown; known are region/],
    [{ key: "a", accessKeyId: "b", secret: "s" }, /accessKeyId is given twice/],
    [{ key: "a" }, /accessKeyId and secretAccessKey go together/],
    [{ token: "t" }, /sessionToken needs/],
    [{ endpoint: "localhost:9000/x y" }, /endpoint must be a URL/],
    [{ region: 5 }, /region must be a text/],
    [{ forcePathStyle: "yes" }, /forcePathStyle must be true or false/],
    [{ timeoutMs: 0 }, /timeoutMs must be a whole number above 0/],
    ["text", /must be an object/],
  ])("storage options %j", (storageOptions, message) => {
    expect(invalid(() => store.fromUrl("s3://orders", storageOptions))).toMatch(message);
  });

  test.each([
    "s3://",
    "s3:///x",
    "s3://Orders/x",
    "s3://orders/x?versionId=1",
    "s3://orders/a//b",
    "s3://orders/../x",
    "s3://orders/ä",
  ])("URL %s", (url) => {
    expect(invalid(() => store.fromUrl(url, {}))).toMatch(/S3/);
  });

  test("directory buckets, whose lists have no order", () => {
    expect(invalid(() => s3({ bucket: "orders--use1-az4--x-s3" }))).toMatch(/directory bucket/);
  });

  test("no secret stands in a message", () => {
    expect(invalid(() => s3({ bucket: "orders", secret: "hush-hush", secretAccessKey: "other" }))).not.toContain(
      "hush",
    );
  });

  test("no credentials anywhere, and no region anywhere", async () => {
    const noKeys = s3({ bucket: "orders", endpoint: server.url });
    await expect(noKeys.create("a", body)).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.stringContaining("No credentials for S3"),
    });
    await expect(s3({ bucket: "orders", key: "k", secret: "s" }).read("a")).rejects.toMatchObject({
      code: "OMNIQ_CONFIG_INVALID",
      message: expect.stringContaining("region is missing"),
    });
  });
});
