// The kit on memory under node:test, from what is built: run by runners.test.ts, which counts.
import { describe, test } from "node:test";
import { testBackend } from "@omniq/conformance";
import { memory } from "@omniq/memory";

let now = Date.now();
const clock = { now: () => now, advance: (ms) => (now += ms) };

testBackend({
  describe,
  test: (name, body, timeout) => test(name, { timeout }, body),
  adapter: memory,
  options: (name) => ({ name, now: clock.now }),
  clock,
});
