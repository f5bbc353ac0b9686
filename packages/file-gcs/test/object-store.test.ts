// The object store suite, and the cases of failing networks, on the stand-in for Google Cloud Storage.
import { Storage } from "@google-cloud/storage";
import { testObjectStore } from "@omniq/conformance";
import { probeStore } from "@omniq/file";
import { gcs } from "@omniq/file-gcs";
import { startGcsServer, storeCases } from "omniq-test-stores";
import { afterAll, afterEach, describe, expect, test } from "vitest";

const token = "a-secret-that-must-not-be-told";
// Small pages, so that lists have many.
const server = await startGcsServer({ buckets: ["orders"], pageSize: 5, token });
const whole = await startGcsServer({ buckets: ["orders"] });
const careless = await startGcsServer({ buckets: ["orders"], ignoreConditions: true });
afterAll(() => Promise.all([server.stop(), whole.stop(), careless.stop()]));
afterEach(() => {
  server.fault = undefined;
});

/** A client of the SDK whose credentials are this token. */
function clientWith(bearer: string): Storage {
  const client = new Storage({ apiEndpoint: server.url, useAuthWithCustomEndpoint: true });
  client.authClient.getRequestHeaders = async () => ({ Authorization: `Bearer ${bearer}` });
  return client;
}
const body = new TextEncoder().encode("body");

testObjectStore({ describe, test, open: (name) => gcs({ bucket: "orders", prefix: name, apiEndpoint: whole.url }) });

describe("failures", () => {
  for (const [i, one] of storeCases.entries())
    test(one.title, () =>
      one.run({
        server,
        secret: token,
        open: ({ timeoutMs, container = "orders", wrong = false } = {}) =>
          gcs({ bucket: container, prefix: `case-${i}`, timeoutMs, client: clientWith(wrong ? "wrong" : token) }),
      }),
    );

  test("the probe refuses a service that ignores conditions", async () => {
    const store = gcs({ bucket: "orders", prefix: "probe", apiEndpoint: careless.url });
    await expect(probeStore(store)).rejects.toMatchObject({ code: "OMNIQ_UNSUPPORTED" });
    expect((await store.list("")).objects).toEqual([]);
  });

  test("no service at all: writes are unknown, the rest is unavailable", async () => {
    const gone = await startGcsServer({ buckets: [] });
    await gone.stop();
    const store = gcs({ bucket: "orders", apiEndpoint: gone.url });
    expect(await store.create("a", body)).toMatchObject({
      state: "unknown",
      wasSent: false,
      cause: { code: "OMNIQ_BACKEND_UNAVAILABLE" },
    });
    await expect(store.read("a")).rejects.toMatchObject({ code: "OMNIQ_BACKEND_UNAVAILABLE", retryable: true });
  });
});
