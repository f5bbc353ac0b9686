// The task queue's cases.
import type { TaskQueue } from "@omniq/core";
import type { Case } from "../suite.ts";
import { boundedBytesCases } from "./bounded-bytes.ts";
import { cancelPushCases } from "./cancel-push.ts";
import { capabilityCases } from "./capabilities.ts";
import { controlCases } from "./control.ts";
import { deduplicateCases } from "./deduplicate.ts";
import { deadLetterCases } from "./dead-letters.ts";
import { dependencyCases } from "./dependencies.ts";
import { enqueueCases } from "./enqueue.ts";
import { leaseCases } from "./leases.ts";
import { limitCases } from "./limits.ts";
import { matrixCases } from "./matrix.ts";
import { orderCases } from "./order.ts";
import { outcomeCases } from "./outcomes.ts";
import { snoozeCases } from "./snooze.ts";
import { timeCases } from "./time.ts";
import { wakeUpCases } from "./wake-up.ts";

/** Every rule of the task queue's contract but those of conduct. */
export const taskQueueCases: readonly Case<TaskQueue>[] = [
  ...enqueueCases,
  ...leaseCases,
  ...snoozeCases,
  ...boundedBytesCases,
  ...timeCases,
  ...wakeUpCases,
  ...orderCases,
  ...deduplicateCases,
  ...controlCases,
  ...cancelPushCases,
  ...deadLetterCases,
  ...limitCases,
  ...dependencyCases,
  ...outcomeCases,
  ...capabilityCases,
  ...matrixCases,
];
