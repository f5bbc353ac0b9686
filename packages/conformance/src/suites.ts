// The suites: for each component of a backend, its name and all of its cases.
import type { Components } from "@omniq/core";
import {
  eventStorageConductCases,
  resultStorageConductCases,
  scheduleStorageConductCases,
  taskQueueConductCases,
} from "./conduct/index.ts";
import { eventStorageCases } from "./event-storage/index.ts";
import { modelCases } from "./model/index.ts";
import { processCases } from "./processes/index.ts";
import { resultStorageCases } from "./result-storage/index.ts";
import type { Suite } from "./rules.ts";
import { scheduleStorageCases } from "./schedule-storage/index.ts";
import type { Case } from "./suite.ts";
import { taskQueueCases } from "./task-queue/index.ts";

export type ComponentName = keyof Components;

/** The name of a component's suite in {@link rules}. */
export const suiteNames: Readonly<Record<ComponentName, Suite>> = {
  taskQueue: "task-queue",
  resultStorage: "result-storage",
  eventStorage: "event-storage",
  scheduleStorage: "schedule-storage",
};

/** All cases, by component. */
export const suites: { readonly [K in ComponentName]: readonly Case<Components[K]>[] } = {
  taskQueue: [...taskQueueCases, ...taskQueueConductCases, ...modelCases, ...processCases],
  resultStorage: [...resultStorageCases, ...resultStorageConductCases],
  eventStorage: [...eventStorageCases, ...eventStorageConductCases],
  scheduleStorage: [...scheduleStorageCases, ...scheduleStorageConductCases],
};
export const componentNames: readonly ComponentName[] = [
  "taskQueue",
  "resultStorage",
  "eventStorage",
  "scheduleStorage",
];
