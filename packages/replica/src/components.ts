// All four components over one executor, each made when it is first asked for.
import type {
  Components,
  EventStorage,
  Reach,
  ResultStorage,
  ScheduleStorage,
  TaskQueue,
  TaskQueueCapabilities,
} from "@omniq/core";
import { CheckedExecutor } from "./checked-executor.ts";
import { ReplicaEventStorage } from "./event-storage.ts";
import type { Executor } from "./executor.ts";
import { ReplicaResultStorage } from "./result-storage.ts";
import { ReplicaScheduleStorage } from "./schedule-storage.ts";
import { ReplicaTaskQueue } from "./task-queue.ts";

/** What the components say of themselves, and what they share. */
export interface ComponentOptions {
  /** The object that says that components can settle together; the backend's state. */
  readonly backend: object;
  readonly durable: boolean;
  readonly push: boolean;
  readonly reach: Reach;
  readonly remoteHeartbeats?: boolean | undefined;
  /** UTF-8 bytes of a payload, a result's value and an event's data. */
  readonly maxPayloadBytes: number;
  readonly maxBatch: number;
  readonly minimumLeaseMs: number;
}

/** Makers of the four components over one executor; each answers with the same component each time. */
export interface ComponentMakers {
  readonly taskQueue: () => TaskQueue;
  readonly resultStorage: () => ResultStorage;
  readonly eventStorage: () => EventStorage;
  readonly scheduleStorage: () => ScheduleStorage;
  /** Closes those that were made. */
  readonly close: () => Promise<void>;
}

export function createComponents(unchecked: Executor, options: ComponentOptions): ComponentMakers {
  const executor = new CheckedExecutor(unchecked);
  const { backend, durable, push, reach, maxPayloadBytes, maxBatch, minimumLeaseMs } = options;
  const common = { durable, push, reach };
  const queueCapabilities: TaskQueueCapabilities = {
    ...common,
    transactions: false,
    priorities: true,
    dependencies: true,
    deduplication: true,
    groups: true,
    queueLimits: true,
    rateLimits: true,
    remoteHeartbeats: options.remoteHeartbeats ?? false,
    maxPayloadBytes,
    maxBatch,
    minimumLeaseMs,
  };
  const made: { -readonly [K in keyof Components]?: Components[K] } = {};
  return {
    taskQueue: () => (made.taskQueue ??= new ReplicaTaskQueue(executor, queueCapabilities, backend)),
    resultStorage: () =>
      (made.resultStorage ??= new ReplicaResultStorage(
        executor,
        { ...common, maxValueBytes: maxPayloadBytes, maxBatch },
        backend,
      )),
    eventStorage: () =>
      (made.eventStorage ??= new ReplicaEventStorage(
        executor,
        { ...common, maxDataBytes: maxPayloadBytes, maxBatch },
        backend,
      )),
    scheduleStorage: () => (made.scheduleStorage ??= new ReplicaScheduleStorage(executor, common, backend)),
    close: async () => {
      await Promise.all(Object.values(made).map((component) => component.close()));
    },
  };
}
