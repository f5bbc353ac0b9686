// What the kit does around its cases: features that are missing, known gaps, cases that hang.
import { OmniQError, type Backend, type TaskQueue, type TaskQueueCapabilities } from "@omniq/core";
import { runSuite, testBackend, type ConformanceOptions } from "@omniq/conformance";
import { memory } from "@omniq/memory";
import { describe, expect, test } from "vitest";

/** Memory without groups; `refuses`: it says so, as it must. */
function withoutGroups(refuses: boolean): (options: { name: string }) => Backend {
  return ({ name }) => {
    const backend = memory({ name });
    const queue = backend.taskQueue();
    const capabilities: TaskQueueCapabilities = { ...queue.capabilities, groups: false };
    const poorer = new Proxy(queue, {
      get(own, key) {
        if (key === "capabilities") return capabilities;
        const value: unknown = Reflect.get(own, key, own);
        if (typeof value !== "function") return value;
        if (key !== "enqueue" || !refuses) return value.bind(own);
        return async (...given: Parameters<TaskQueue["enqueue"]>) => {
          if (given[0].some((call) => call.tasks.some((task) => task.group !== undefined))) {
            throw new OmniQError("OMNIQ_UNSUPPORTED", "This queue has no groups");
          }
          return own.enqueue(...given);
        };
      },
    });
    return new Proxy(backend, {
      get(own, key) {
        const value: unknown = Reflect.get(own, key, own);
        return key === "taskQueue" ? () => poorer : typeof value === "function" ? value.bind(own) : value;
      },
    });
  };
}

/** Registers the suite with a runner that keeps the tests by their names. */
function collect(options: Omit<ConformanceOptions, "describe" | "test">): Map<string, () => Promise<void>> {
  const tests = new Map<string, () => Promise<void>>();
  testBackend({ ...options, describe: (_name, body) => body(), test: (name, body) => tests.set(name, body) });
  return tests;
}
const named = (name: string): unknown => ({ name });

describe("the kit", () => {
  test("a feature that is missing has a negative case, which passes when the call is refused", async () => {
    const report = await runSuite({
      adapter: withoutGroups(true),
      options: named,
      components: ["taskQueue"],
      rules: ["group-limit"],
    });
    expect(report.failed).toEqual([]);
    expect(report.passed).toBe(1);
  });

  test("a feature that is said to be missing and is silently taken is caught", async () => {
    const report = await runSuite({
      adapter: withoutGroups(false),
      options: named,
      components: ["taskQueue"],
      rules: ["group-limit"],
    });
    expect(report.failed.map((one) => one.title)).toEqual([
      "without groups a call that needs it rejects with OMNIQ_UNSUPPORTED",
    ]);
  });

  test("what does not apply is said, and its test fails when the reason is not true", async () => {
    const tests = collect({ adapter: withoutGroups(true), options: named, components: ["taskQueue"] });
    const [name, body] = [...tests].find(([title]) => title.includes("do not apply: the queue has no groups")) ?? [];
    expect(name).toMatch(/^\d+ cases do not apply/);
    await expect(body?.()).resolves.toBeUndefined();
    expect([...tests.keys()].filter((title) => title.startsWith("group-limit"))).toHaveLength(1);
  });

  test("a known gap fails when it has closed, and passes while it is open", async () => {
    const knownGaps = { "group-limit": "not built yet" } as const;
    const closed = collect({ adapter: memory, options: named, components: ["taskQueue"], knownGaps }).get(
      "group-limit: known gap: not built yet",
    );
    await expect(closed?.()).rejects.toThrow("take it out of knownGaps");
    const open = collect({ adapter: withoutGroups(false), options: named, components: ["taskQueue"], knownGaps }).get(
      "group-limit: known gap: not built yet",
    );
    await expect(open?.()).resolves.toBeUndefined();
  });

  test("a component that is named and missing fails", async () => {
    const adapter = (options: { name: string }): Backend => {
      const backend = memory(options);
      return new Proxy(backend, {
        get: (own, key) => {
          const value: unknown = key === "eventStorage" ? undefined : Reflect.get(own, key, own);
          return typeof value === "function" ? value.bind(own) : value;
        },
      });
    };
    const tests = collect({ adapter, options: named, components: ["eventStorage"] });
    const [, first] = [...tests].find(([title]) => title.startsWith("event-order")) ?? [];
    await expect(first?.()).rejects.toThrow("the backend has no eventStorage");
  });
});
