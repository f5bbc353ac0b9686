// The storages', conduct and model cases on the reference, whose clock is ours.
import { describe, expect, test } from "vitest";
import type { Components } from "@omniq/core";
import { memory } from "@omniq/memory";
import { eventStorageConductCases, resultStorageConductCases, scheduleStorageConductCases, taskQueueConductCases } from "../src/conduct/index.ts";
import { eventStorageCases } from "../src/event-storage/index.ts";
import { modelCases } from "../src/model/index.ts";
import { resultStorageCases } from "../src/result-storage/index.ts";
import { scheduleStorageCases } from "../src/schedule-storage/index.ts";
import type { AnyBackend, Case, World } from "../src/suite.ts";

let worlds = 0;

/** A world on the memory adapter; `close` closes everything that was opened. */
function makeWorld(): World & { close(): Promise<void> } {
  const namespace = `own-${(worlds += 1)}`;
  let offset = 0;
  const now = (): number => Date.now() + offset;
  const opened: AnyBackend[] = [];
  const open = (name = namespace): AnyBackend => {
    const backend = memory({ name, now }) as AnyBackend;
    opened.push(backend);
    return backend;
  };
  return {
    namespace,
    backend: open(),
    open: async (name) => open(name),
    clock: { controlled: true, now, pass: async (ms) => void (offset += ms) },
    processes: undefined,
    outage: undefined,
    reopen: undefined,
    close: async () => {
      await Promise.all(opened.map((backend) => backend.close()));
    },
  };
}

function suite<Kind extends keyof Components>(kind: Kind, cases: readonly Case<Components[Kind]>[]): void {
  describe(kind, () => {
    test("the titles under one rule are distinct", () => {
      const titles = cases.map((one) => `${one.rule}: ${one.title}`);
      expect(new Set(titles).size).toBe(titles.length);
    });
    for (const one of cases) {
      test(`${one.rule}: ${one.title}`, { timeout: one.timeoutMs ?? 30_000 }, async (context) => {
        const world = makeWorld();
        try {
          const component = (world.backend[kind] as () => Components[Kind]).call(world.backend);
          const reason = one.unless?.(world, component);
          if (reason !== undefined) return context.skip(reason);
          await one.run(component, world);
        } finally {
          await world.close();
        }
      });
    }
  });
}

suite("resultStorage", [...resultStorageCases, ...resultStorageConductCases]);
suite("eventStorage", [...eventStorageCases, ...eventStorageConductCases]);
suite("scheduleStorage", [...scheduleStorageCases, ...scheduleStorageConductCases]);
suite("taskQueue", [...taskQueueConductCases, ...modelCases]);
