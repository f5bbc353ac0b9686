// Checks what a user gives to `omniq.worker(...)` and decides every default.
import { availableParallelism, hostname } from "node:os";
import { OmniQError } from "../errors.ts";
import { checkInteger, checkKey, describeType } from "../limits.ts";
import type { Runtime } from "../runtime.ts";
import type { Middleware, WorkerHooks, WorkerKind, WorkerOptions } from "../worker.ts";

/** Worker options with every field decided. */
export interface ResolvedWorkerOptions extends WorkerHooks {
  readonly kind: WorkerKind;
  readonly tasks: readonly unknown[];
  readonly modules: readonly URL[];
  readonly queues: readonly string[] | undefined;
  readonly concurrency: number;
  readonly leaseMs: number;
  readonly graceMs: number;
  readonly name: string;
  readonly middleware: readonly Middleware[];
  readonly upkeep: boolean;
  readonly maxReserveBytes: number;
  readonly unknownTasks: "release" | "fail";
}

const known = new Set([
  "tasks",
  "modules",
  "kind",
  "concurrency",
  "queues",
  "leaseMs",
  "graceMs",
  "name",
  "middleware",
  "upkeep",
  "maxReserveBytes",
  "unknownTasks",
  "onCompleted",
  "onRetry",
  "onFailed",
]);

function refuse(message: string): OmniQError {
  return new OmniQError("OMNIQ_INVALID_OPTION", message);
}

function list(what: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw refuse(`worker: ${what} must be an array, not ${describeType(value)}`);
  return value;
}

function kindOf(value: unknown, modules: boolean, fallback: WorkerKind): WorkerKind {
  if (value === undefined) return modules ? fallback : "async";
  if (value === "async" || value === "thread" || value === "process") return value;
  if (value === "gevent") {
    throw refuse(
      'worker: kind "gevent" is a Python library that JavaScript does not need: its event loop already runs tasks side by side; use "async"',
    );
  }
  throw refuse(
    `worker: kind must be "async", "thread" or "process", not ${typeof value === "string" ? JSON.stringify(value) : describeType(value)}`,
  );
}

/** Checks and completes. Throws `OMNIQ_INVALID_OPTION`, which names the option. */
export function resolveWorkerOptions(runtime: Runtime, options: WorkerOptions): ResolvedWorkerOptions {
  if (typeof options !== "object" || options === null)
    throw refuse(`worker: the options must be an object, not ${describeType(options)}`);
  for (const key of Object.keys(options)) {
    if (!known.has(key))
      throw refuse(`worker: unknown option ${JSON.stringify(key)}; known are ${[...known].join(", ")}`);
  }
  if ((options.tasks === undefined) === (options.modules === undefined)) {
    throw refuse(
      "worker: give either tasks (handlers that run in this thread) or modules (URLs whose exports are tasks), not both and not neither",
    );
  }
  const modules = options.modules === undefined ? [] : list("modules", options.modules);
  for (const module of modules) {
    if (!(module instanceof URL))
      throw refuse(
        `worker: each of modules must be a URL, such as new URL("./tasks.js", import.meta.url), not ${describeType(module)}`,
      );
  }
  if (options.modules !== undefined && modules.length === 0) throw refuse("worker: modules must not be empty");
  const kind = kindOf(options.kind, options.modules !== undefined, runtime.defaultWorkerKind);
  const tasks = options.tasks === undefined ? [] : list("tasks", options.tasks);
  if (options.tasks !== undefined && kind !== "async") {
    throw refuse(
      `worker: functions cannot cross into a ${kind}; export the tasks from a module and give its URL in modules`,
    );
  }
  if (options.tasks !== undefined && tasks.length === 0) throw refuse("worker: tasks must not be empty");
  const concurrency = options.concurrency ?? (kind === "async" ? 10 : availableParallelism());
  checkInteger("worker: concurrency", concurrency, 1, 100_000);
  const leaseMs = options.leaseMs ?? 30_000;
  checkInteger("worker: leaseMs", leaseMs, runtime.taskQueue.capabilities.minimumLeaseMs, 86_400_000);
  const graceMs = options.graceMs ?? 25_000;
  checkInteger("worker: graceMs", graceMs, 0);
  const queues = options.queues === undefined ? undefined : list("queues", options.queues);
  if (queues?.length === 0) throw refuse("worker: queues must not be empty; leave it out for the queues of the tasks");
  for (const queue of queues ?? []) checkKey("worker: a queue's name", queue);
  if (queues !== undefined && new Set(queues).size !== queues.length)
    throw refuse("worker: queues has the same name twice");
  const name = options.name ?? `${hostname().slice(0, 100)}:${process.pid}`;
  checkKey("worker: name", name);
  const middleware = options.middleware === undefined ? [] : list("middleware", options.middleware);
  for (const each of middleware)
    if (typeof each !== "function") throw refuse("worker: each of middleware must be a function");
  for (const hook of ["onCompleted", "onRetry", "onFailed"] as const) {
    if (options[hook] !== undefined && typeof options[hook] !== "function")
      throw refuse(`worker: ${hook} must be a function`);
  }
  if (options.upkeep !== undefined && typeof options.upkeep !== "boolean")
    throw refuse("worker: upkeep must be true or false");
  const maxReserveBytes = options.maxReserveBytes ?? 33_554_432;
  checkInteger("worker: maxReserveBytes", maxReserveBytes, 1);
  const unknownTasks = options.unknownTasks ?? "release";
  if (unknownTasks !== "release" && unknownTasks !== "fail")
    throw refuse('worker: unknownTasks must be "release" or "fail"');
  return {
    kind,
    tasks,
    modules: modules as readonly URL[],
    queues: queues as readonly string[] | undefined,
    concurrency,
    leaseMs,
    graceMs,
    name,
    middleware: middleware as readonly Middleware[],
    upkeep: options.upkeep ?? true,
    maxReserveBytes,
    unknownTasks,
    onCompleted: options.onCompleted,
    onRetry: options.onRetry,
    onFailed: options.onFailed,
  };
}
