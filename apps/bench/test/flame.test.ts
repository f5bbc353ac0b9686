// A profile as a tree and as a flame graph: times add up, the profiler's own are left out, and the picture is well-formed.
import type { Profiler } from "node:inspector/promises";
import { expect, test } from "vitest";
import { callTree } from "../src/report/call-tree.ts";
import { flameSvg } from "../src/report/flame.ts";
import { hottest } from "../src/report/hottest.ts";
import { flameName } from "../src/report/profiling.ts";

const frame = (functionName: string, url = "", lineNumber = -1) => ({
  functionName,
  url,
  lineNumber,
  scriptId: "1",
  columnNumber: 0,
});
const profile: Profiler.Profile = {
  startTime: 0,
  endTime: 10_000,
  nodes: [
    { id: 1, callFrame: frame("(root)"), children: [2, 5, 6, 7, 8] },
    { id: 2, callFrame: frame("settle", "file:///x/packages/core/dist/worker/pump.js", 9), children: [3, 4] },
    { id: 3, callFrame: frame("<send> & wait", "file:///x/node_modules/.pnpm/a@1/node_modules/a/index.js", 0) },
    { id: 4, callFrame: frame("", "file:///x/packages/redis/dist/answers.js", 41) },
    { id: 5, callFrame: frame("(idle)") },
    { id: 6, callFrame: frame("dispatch") },
    { id: 7, callFrame: frame("settle", "file:///x/packages/core/dist/worker/pump.js", 9) },
    { id: 8, callFrame: frame("seldom", "node:net", 1) },
  ],
  samples: [2, 3, 4, 5, 6, 7, 8],
  timeDeltas: [2_000, 3_000, 1_000, 2_000, 9_000, 1_995, 5],
};

test("times add up to the whole, without the profiler's own", () => {
  const tree = callTree(profile);
  expect(tree.total).toBe(10_000);
  expect(tree.calls.map(({ name, total, own, owner }) => [name, total, own, owner])).toEqual([
    ["settle", 6_000, 2_000, "omniq"],
    ["(idle)", 2_000, 2_000, "waiting"],
    ["settle", 1_995, 1_995, "omniq"],
    ["seldom", 5, 5, "node"],
  ]);
  expect(hottest(tree, 2)).toEqual([
    { name: "settle packages/core/dist/worker/pump.js:10", share: 0.3995 },
    { name: "<send> & wait a/index.js:1", share: 0.3 },
  ]);
});

test("a flame graph names what can be seen, and escapes it", () => {
  const svg = flameSvg("Redis & more", callTree(profile));
  expect(svg).toContain("<title>&lt;send&gt; &amp; wait\na/index.js:1\n37.5 %, 37.5 % of it itself</title>");
  expect(svg).toContain(">answers.js:42</text>");
  expect(svg).toContain("Redis &amp; more");
  expect(svg).not.toContain("seldom");
  expect(svg).toContain("The process worked 80.0 % of the time");
  expect(svg.match(/<g>/g)).toHaveLength(5);
  expect(svg.match(/<\/g>/g)).toHaveLength(5);
});

test("files of flame graphs are named by backend, then by what is not usual", () => {
  expect(flameName("redis", "OmniQ", "drain at 100")).toBe("flame-redis.svg");
  expect(flameName("postgres", "pg-boss", "enqueue by 100 callers")).toBe(
    "flame-postgres-pg-boss-enqueue-by-100-callers.svg",
  );
});
