// The conformance kit on NATS: streams of its own for each namespace, races between real processes.
import { testBackend } from "@omniq/conformance";
import { nats } from "@omniq/nats";
import { describe, test } from "vitest";
import { removeStreams, servers } from "./harness.ts";

testBackend({
  describe,
  test,
  adapter: nats,
  module: new URL("../dist/index.js", import.meta.url),
  options: (prefix) => ({ servers, prefix }),
  cleanUp: removeStreams,
});
