// The suite of the schedule storage contract: all of it stands under `schedule-once`.
import type { ScheduleStorage } from "@omniq/core";
import type { Case } from "../suite.ts";
import { advanceCases } from "./advance.ts";
import { storeCases } from "./store.ts";

export const scheduleStorageCases: readonly Case<ScheduleStorage>[] = [...storeCases, ...advanceCases];
