// How many tasks a worker leases ahead, by how long its handlers and its store take.
import { describe, expect, test } from "vitest";
import { Prefetch } from "../src/worker/prefetch.ts";

function after(concurrency: number, handlerMs: number, roundTripMs: number): number {
  const prefetch = new Prefetch(concurrency);
  prefetch.handlerTook(handlerMs);
  prefetch.roundTripTook(roundTripMs);
  return prefetch.size;
}

describe("prefetch", () => {
  test("nothing before a handler has ended, and nothing where handlers are long", () => {
    expect(new Prefetch(10).size).toBe(0);
    expect(after(10, 60_000, 100)).toBe(0);
  });
  test("near stores: short handlers have 1,000 ahead, or their concurrency", () => {
    expect(after(10, 0.01, 1)).toBe(1_000);
    expect(after(1_500, 0.01, 1)).toBe(1_500);
  });
  test("far stores: more, the longer a commit takes, up to two calls of the largest size", () => {
    expect(after(100, 0.01, 150)).toBe(1_500);
    expect(after(100, 0.01, 1_000)).toBe(2_000);
  });
  test("never more than would start within a round trip, or 50 ms", () => {
    expect(after(10, 10, 100)).toBe(100);
    expect(after(10, 10, 30)).toBe(50);
  });
});
