// The conformance kit on NATS: streams of its own for each namespace, races between real processes. `OMNIQ_TEST_NATS_REPLICAS=3` runs it with
// replicated streams (on a cluster, see `OMNIQ_TEST_NATS_URL`), `OMNIQ_TEST_NATS_PARTITIONS=3` with the kit's queues in so many logs.
import { testBackend } from "@omniq/conformance";
import { nats } from "@omniq/nats";
import { describe, test } from "vitest";
import { kitOptions, removeStreams } from "./harness.ts";

testBackend({
  describe,
  test,
  adapter: nats,
  module: new URL("../dist/index.js", import.meta.url),
  options: kitOptions,
  cleanUp: removeStreams,
});
