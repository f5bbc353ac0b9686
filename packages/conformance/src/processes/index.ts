// Cases with several real processes, and what they are made of.
import type { TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { crashCases } from "./crash-cases.ts";
import { raceCases } from "./race-cases.ts";

export { createProcesses } from "./create-processes.ts";
export type * from "./history.ts";

export const processCases: readonly Case<TaskQueue>[] = [...raceCases, ...crashCases];
