// The conformance kit on one Redis server: a prefix for each namespace, races between real processes, outages by a proxy.
import { testBackend } from "@omniq/conformance";
import { redis } from "@omniq/redis";
import { describe, test } from "vitest";
import { outage, removeKeys, url } from "./server.ts";

testBackend({
  describe,
  test,
  adapter: redis,
  module: new URL("../dist/index.js", import.meta.url),
  options: (namespace) => ({ url: outage.url, prefix: namespace }),
  outage,
  cleanUp: (namespace) => removeKeys(url, namespace),
});
