// @omniq/core: contracts, model, errors, client, worker, scheduler and configuration.
export type { Paginated, Queue, TaskAdministration } from "./administration.ts";
export * from "./backend.ts";
export { OmniQ, type OmniQOptions } from "./client.ts";
export * from "./contracts/index.ts";
export { allowFailure, defineTask } from "./define-task.ts";
export * from "./errors.ts";
export type { Events, TailOptions } from "./event-log.ts";
export type { EventError, TaskEvent } from "./events.ts";
export type * from "./handle.ts";
export * from "./limits.ts";
export { consoleLogger, type Logger, type LogLevel } from "./logger.ts";
export type * from "./options.ts";
export type * from "./schedule.ts";
export type { Scheduler } from "./scheduler.ts";
export { jsonSerializer, type Serializer } from "./serializer.ts";
export {
  isStandardSchema,
  typeOnly,
  type InferInput,
  type InferOutput,
  type StandardIssue,
  type StandardResult,
  type StandardSchemaV1,
} from "./standard-schema.ts";
export type * from "./task-definition.ts";
export type { DrainSummary, Middleware, Worker, WorkerHooks, WorkerKind, WorkerOptions } from "./worker.ts";
export type { LoadOptions, OmniQConfig } from "./configuration/types.ts";
