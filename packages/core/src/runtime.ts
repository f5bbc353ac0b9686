// What the client lends to its workers and schedulers: components, serializer, logger and the client's own verbs.
import type { RemoteBackend } from "./backend.ts";
import type {
  EventStorage,
  NewEvent,
  NewTask,
  ResultStorage,
  ScheduleStorage,
  TaskEventType,
  TaskQueue,
} from "./contracts/index.ts";
import type { Serializer } from "./serializer.ts";
import type { Logger } from "./logger.ts";
import type { Enqueue, EnqueueMany, TaskCall } from "./task-definition.ts";

/** What an event is about. */
export interface EventSubject {
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly run: number;
  readonly attempt: number;
}

/** One client's inside. */
export interface Runtime {
  readonly taskQueue: TaskQueue;
  readonly resultStorage: ResultStorage | undefined;
  readonly eventStorage: EventStorage | undefined;
  readonly scheduleStorage: ScheduleStorage | undefined;
  /** The results are kept by the task queue's own backend: settlements carry them. */
  readonly resultsTogether: boolean;
  /** The events are kept by the task queue's own backend: settlements carry them. */
  readonly eventsTogether: boolean;
  /** How a heartbeat thread connects to the task queue, where it can. */
  readonly remote: RemoteBackend | undefined;
  readonly serializer: Serializer;
  readonly logger: Logger;
  readonly defaultWorkerKind: "async" | "thread" | "process";
  readonly enqueue: Enqueue;
  readonly enqueueMany: EnqueueMany;
  /** Enqueues a prepared task under its own id (schedules). Resolves when it is durable. */
  enqueuePrepared(task: NewTask): Promise<void>;
  /** A call as the task queue takes it, with defaults and checks applied. */
  prepare(call: TaskCall<unknown>): Promise<NewTask>;
  /** An event with a fresh id and this process's clock. */
  event(type: TaskEventType, task: EventSubject, data?: unknown): NewEvent;
  /** Resolves when the settings of the client's `queues` are in place; a worker waits for it before it takes tasks. */
  ready(): Promise<void>;
  /** Aborts when the client is closed. */
  readonly closed: AbortSignal;
  /** Workers and schedulers to stop before the components are closed. */
  onClose(stop: () => Promise<void>): () => void;
  /** Closes the client. */
  close(): Promise<void>;
}
