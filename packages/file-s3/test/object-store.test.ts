// The object store suite, the cases of failing networks, and what S3 says in its own words, on the stand-in for S3.
import { testObjectStore } from "@omniq/conformance";
import { probeStore } from "@omniq/file";
import { s3, type S3Options } from "@omniq/file-s3";
import { script, startS3Server, storeCases } from "omniq-test-stores";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const secret = "a-secret-that-must-not-be-told";
// Small pages, so that lists have many.
const server = await startS3Server({ buckets: ["orders"], pageSize: 5 });
const whole = await startS3Server({ buckets: ["orders"] });
const careless = await startS3Server({ buckets: ["orders"], ignoreConditions: true });
afterAll(() => Promise.all([server.stop(), whole.stop(), careless.stop()]));
afterEach(() => {
  server.fault = undefined;
});

const options = (prefix: string): S3Options => ({
  bucket: "orders",
  prefix,
  endpoint: server.url,
  accessKeyId: "test",
  secretAccessKey: secret,
});
const body = new TextEncoder().encode("body");

testObjectStore({ describe, test, open: (name) => s3({ ...options(name), endpoint: whole.url }) });

describe("failures", () => {
  for (const [i, one] of storeCases.entries())
    test(one.title, () =>
      one.run({
        server,
        secret,
        open: ({ timeoutMs, container = "orders", wrong = false } = {}) =>
          s3({ ...options(`case-${i}`), bucket: container, timeoutMs, accessKeyId: wrong ? "wrong" : "test" }),
      }),
    );

  test("409 ConditionalRequestConflict is unknown, of creates and of replaces", async () => {
    const store = s3(options("conflict"));
    const conflict = { type: "refuse", status: 409, code: "ConditionalRequestConflict" } as const;
    server.fault = script("create", conflict);
    expect(await store.create("a", body)).toMatchObject({ state: "unknown" });
    expect(await store.create("a", body)).toMatchObject({ state: "created" });
    const { object } = await store.read("a");
    server.fault = script("replace", conflict);
    expect(await store.replace("a", body, object?.revision ?? "")).toMatchObject({ state: "unknown" });
  });

  test("a clock that is off is set right by the answer, and the call goes on", async () => {
    const skewed = { type: "refuse", status: 403, code: "RequestTimeTooSkewed" } as const;
    const store = s3(options("skew"));
    server.fault = script("create", skewed);
    expect(await store.create("a", body)).toMatchObject({ state: "unknown" });
    expect(await store.create("a", body)).toMatchObject({ state: "created" });
    server.fault = script("read", skewed);
    expect(await store.read("a")).toMatchObject({ object: { body } });
  });

  test("the probe refuses a service that ignores conditions", async () => {
    const store = s3({ ...options("probe"), endpoint: careless.url });
    await expect(probeStore(store)).rejects.toMatchObject({ code: "OMNIQ_UNSUPPORTED" });
    expect((await store.list("")).objects).toEqual([]);
  });

  test("no service at all: writes are unknown, the rest is unavailable", async () => {
    const gone = await startS3Server({ buckets: [] });
    await gone.stop();
    const store = s3({ ...options("gone"), endpoint: gone.url });
    expect(await store.create("a", body)).toMatchObject({
      state: "unknown",
      wasSent: false,
      cause: { code: "OMNIQ_BACKEND_UNAVAILABLE" },
    });
    await expect(store.read("a")).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE", retryable: true });
  });
});
