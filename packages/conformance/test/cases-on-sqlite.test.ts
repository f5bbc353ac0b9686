// The cases with real processes, crashes, reopening and random histories on SQLite: build first, as the processes load `dist`.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, test } from "vitest";
import type { Components } from "@omniq/core";
import { adapter } from "../../sqlite/src/index.ts";
import { eventStorageConductCases, resultStorageConductCases, scheduleStorageConductCases, taskQueueConductCases } from "../src/conduct/index.ts";
import { eventStorageCases } from "../src/event-storage/index.ts";
import { modelCases } from "../src/model/index.ts";
import { createProcesses, processCases } from "../src/processes/index.ts";
import { resultStorageCases } from "../src/result-storage/index.ts";
import { scheduleStorageCases } from "../src/schedule-storage/index.ts";
import type { AnyBackend, Case, World } from "../src/suite.ts";

const folder = mkdtempSync(join(tmpdir(), "omniq-cases-"));
afterAll(() => rmSync(folder, { recursive: true }));
const options = (namespace: string) => ({ databasePath: join(folder, `${namespace}.db`), synchronous: "normal" as const });
let worlds = 0;

async function inWorld(body: (world: World) => Promise<void>): Promise<void> {
  const namespace = `w${(worlds += 1)}`;
  const opened: AnyBackend[] = [];
  const open = (name = namespace): AnyBackend => {
    const backend: AnyBackend = adapter(options(name));
    opened.push(backend);
    return backend;
  };
  const closeAll = async (): Promise<void> => void (await Promise.all(opened.splice(0).map((backend) => backend.close())));
  try {
    await body({
      namespace, backend: open(), open: async (name) => open(name),
      clock: { controlled: false, now: () => Date.now(), pass: async (ms) => void (await sleep(ms)) },
      processes: createProcesses(new URL("../../sqlite/src/index.ts", import.meta.url), options, namespace),
      outage: undefined,
      reopen: async () => {
        await closeAll();
        return open();
      },
    } as World);
  } finally {
    await closeAll();
  }
}

function suite<Kind extends keyof Components>(kind: Kind, cases: readonly Case<Components[Kind]>[]): void {
  describe(kind, () => {
    for (const one of cases) {
      test(`${one.rule}: ${one.title}`, { timeout: one.timeoutMs ?? 30_000 }, (context) =>
        inWorld(async (world) => {
          const component = (world.backend[kind] as () => Components[Kind]).call(world.backend);
          const reason = one.unless?.(world, component);
          if (reason !== undefined) return context.skip(reason);
          await one.run(component, world);
        }));
    }
  });
}

suite("resultStorage", [...resultStorageCases, ...resultStorageConductCases]);
suite("eventStorage", [...eventStorageCases, ...eventStorageConductCases]);
suite("scheduleStorage", [...scheduleStorageCases, ...scheduleStorageConductCases]);
suite("taskQueue", [...taskQueueConductCases, ...processCases, ...modelCases]);
