// The conformance kit on the File backend over the stand-in for Google Cloud Storage, with races between real processes.
import { testBackend } from "@omniq/conformance";
import { partOfKit, startStand } from "omniq-test-stores";
import { afterAll, describe, test } from "vitest";
import { adapter } from "./adapter.mjs";

const { server, storageOptions } = await startStand("gcs", "conformance");
afterAll(() => server.stop());

testBackend({
  describe,
  test: partOfKit(test),
  adapter,
  module: new URL("./adapter.mjs", import.meta.url),
  options: (prefix) => ({ store: { bucket: "conformance", prefix, ...storageOptions }, minimumLeaseMs: 1 }),
  outage: {
    stop: async () => {
      server.fault = () => ({ type: "drop-before" });
    },
    start: async () => {
      server.fault = undefined;
    },
  },
});
