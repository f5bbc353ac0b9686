// The shape of plain configuration, as it is typed for code: nested or flat, in camelCase or snake_case.
import type { AnyAdapter, BackendSource, BackendType, Components, FlatBackendOptions, SnakeCase } from "../backend.ts";
import type { OmniQOptions } from "../client.ts";
import type { QueueSettings } from "../contracts/index.ts";
import type { Logger, LogLevel } from "../logger.ts";
import type { RetryPolicy, TaskDefaults } from "../options.ts";
import type { Serializer } from "../serializer.ts";
import type { WorkerKind } from "../worker.ts";

type Snake<O> = { readonly [K in keyof O as K extends string ? SnakeCase<K> : K]: O[K] };
type SnakeDefaults = Omit<Snake<TaskDefaults>, "retry"> & {
  readonly retry?: RetryPolicy | Snake<RetryPolicy> | undefined;
};
type SnakeQueueSettings = Omit<Snake<QueueSettings>, "rate_limit"> & {
  readonly rate_limit?: QueueSettings["rateLimit"] | { readonly limit: number; readonly window_ms: number };
};

interface NestedConfig {
  /** Where tasks are kept. Left out, it is the one backend that the other components describe. */
  readonly taskQueue?: BackendSource | undefined;
  /** Default: the task queue's backend. `false` or `"none"`: outcomes are not stored. */
  readonly resultStorage?: BackendSource | false | "none" | undefined;
  /** Default: none. */
  readonly eventStorage?: BackendSource | false | "none" | undefined;
  /** Default: the task queue's backend. */
  readonly scheduleStorage?: BackendSource | false | "none" | undefined;
  /** Options of every task, below its definition's own. */
  readonly defaults?: TaskDefaults | SnakeDefaults | undefined;
  /** Limits of queues, by the queue's name. */
  readonly queues?: Readonly<Record<string, QueueSettings | SnakeQueueSettings>> | undefined;
  /** Seconds that an outcome is kept. 0 keeps nothing; null keeps it for ever. The same as `defaults.resultTtlMs`. */
  readonly resultTtl?: number | null | undefined;
  /** The same in milliseconds. */
  readonly resultTtlMs?: number | null | undefined;
  /** Seconds, counted from `runAt`, within which a task must have started; null: no limit. The default `expiresInMs`. */
  readonly taskTtl?: number | null | undefined;
  /** The same in milliseconds. */
  readonly taskTtlMs?: number | null | undefined;
  readonly logLevel?: LogLevel | undefined;
  /** The kind of workers that do not say. */
  readonly defaultWorker?: WorkerKind | undefined;
}
interface FlatComponents {
  readonly taskQueueType?: BackendType | undefined;
  readonly resultStorageType?: BackendType | "none" | undefined;
  readonly eventStorageType?: BackendType | "none" | undefined;
  readonly scheduleStorageType?: BackendType | "none" | undefined;
  /** A URL whose scheme names the adapter. */
  readonly taskQueueUrl?: string | undefined;
  readonly resultStorageUrl?: string | undefined;
  readonly eventStorageUrl?: string | undefined;
  readonly scheduleStorageUrl?: string | undefined;
}

/**
 * Plain configuration. Each component is a description (`taskQueue: { type: "redis", host: "localhost" }`), a URL
 * (`"redis://localhost"`), or flat (`taskQueueType: "redis", redisHost: "localhost"`). All keys may be written in snake_case.
 * The options of a type are known to the compiler once its adapter is imported anywhere in the program.
 */
export type OmniQConfig = NestedConfig &
  Snake<NestedConfig> &
  FlatComponents &
  Snake<FlatComponents> &
  FlatBackendOptions;

/** Where `OmniQ.load` finds the configuration: defaults < `file` < `environment` < `config`, merged field by field. */
export interface LoadOptions {
  readonly config?: OmniQConfig | undefined;
  /** A .yaml, .yml or .json file; a relative path counts from the working folder. Default: the variable `OMNIQ_CONFIG`, if set. */
  readonly file?: string | URL | undefined;
  /** Default: `process.env`. `false` ignores it. Only names that begin with `OMNIQ_` are read; empty values count as unset. */
  readonly environment?: Readonly<Record<string, string | undefined>> | false | undefined;
  /** Adapters at hand; others are imported as packages. */
  readonly adapters?: readonly AnyAdapter[] | undefined;
  readonly serializer?: Serializer | undefined;
  readonly logger?: Logger | undefined;
}

/** What a configuration comes to: the client's options. */
export type ConfiguredOptions = OmniQOptions & {
  readonly defaultWorkerKind?: WorkerKind | undefined;
  readonly logLevel?: LogLevel | undefined;
};

/** The name of a component's field in the client's options. */
export type ComponentName = keyof Components;
