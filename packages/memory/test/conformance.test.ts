// The conformance kit on memory, with a clock that the cases move.
import { testBackend } from "@omniq/conformance";
import { memory } from "@omniq/memory";
import { describe, test } from "vitest";

let now = Date.now();
const clock = {
  now: () => now,
  advance: (ms: number) => {
    now += ms;
  },
};

testBackend({ describe, test, adapter: memory, options: (name) => ({ name, now: clock.now }), clock });
