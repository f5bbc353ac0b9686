// The conformance kit on one Redis server: a prefix for each namespace, races between real processes, outages by a proxy.
import { testBackend } from "@omniq/conformance";
import { redis } from "@omniq/redis";
import { describe, test } from "vitest";
import { damage } from "./damage.ts";
import { outage, removeKeys, url } from "./server.ts";

testBackend({
  describe,
  test,
  adapter: redis,
  module: new URL("../dist/index.js", import.meta.url),
  options: (namespace) => ({ url: outage.url, prefix: namespace }),
  outage,
  damage,
  cleanUp: (namespace) => removeKeys(url, namespace),
});
